"""What a community's robots are for, and what people ask of them.

In all texts, {area} stands for a part of the community.
"""

from dataclasses import dataclass

AREAS = ("Board games", "Bread baking", "Cycling", "Gardening", "Photography", "Old maps")
"""The parts of the community; each has a robot for every task."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question and its answer; `tool` is what the robot called, with what came of it."""

    question: str
    answer: str
    tool: str | None = None
    found: int = 0


@dataclass(frozen=True, slots=True)
class Task:
    """One sort of robot."""

    name: str
    description: str
    playbook: str
    tools: tuple[str, ...]
    exchanges: tuple[Exchange, ...]


TASKS = (
    Task(
        "Welcomer",
        "Greets new members of {area} and shows them around.",
        "Greet people by name. Point to the pinned threads of {area}. Two short paragraphs at most.",
        ("member_list", "thread_reply"),
        (
            Exchange(
                "Who joined {area} this week?",
                "Four people joined. Three have posted already; I would say hello to the fourth, "
                "who has only read so far.",
                "member_list",
                4,
            ),
            Exchange(
                "Draft a welcome for them, please.",
                "“Welcome to {area}! Have a look at the pinned threads, and tell us what brought you here. "
                "No question is too small.”",
            ),
            Exchange(
                "A bit shorter?",
                "“Welcome to {area}! Tell us what brought you here; no question is too small.”",
            ),
        ),
    ),
    Task(
        "Thread tidier",
        "Finds duplicate and misplaced threads in {area}.",
        "Never move or merge anything without a moderator's yes. List threads with their titles and dates.",
        ("thread_list", "thread_get", "thread_update"),
        (
            Exchange(
                "Are there duplicate threads in {area}?",
                "I found two pairs. In each, the older thread has all the answers.",
                "thread_list",
                2,
            ),
            Exchange(
                "Merge the first pair.",
                "Done: the newer thread now points to the older one, and both authors have been told.",
                "thread_update",
                1,
            ),
            Exchange(
                "And the second?",
                "I would leave it for now. Its newer thread asks about prices, which the older one does not.",
            ),
        ),
    ),
    Task(
        "Spam sifter",
        "Looks through reported posts of {area} before people do.",
        "Judge posts, not people. When in doubt, keep the post and leave a note for the moderators.",
        ("report_list", "post_get", "post_hide"),
        (
            Exchange(
                "What is in the report queue?",
                "Six reports in {area}: four are the same advert, one is a quarrel, one seems a mistake.",
                "report_list",
                6,
            ),
            Exchange(
                "Hide the adverts.",
                "All four are hidden. Their account is two days old, so an admin may want to look at it.",
                "post_hide",
                4,
            ),
            Exchange(
                "What is the quarrel about?",
                "Whether a beginner's question had been answered before. Both have a point; "
                "a friendly link to the old thread should settle it.",
                "post_get",
                1,
            ),
        ),
    ),
    Task(
        "Librarian",
        "Keeps the library of {area}: links, pages and their tags.",
        "Prefer existing tags to new ones. Every page needs a summary of one sentence and a source.",
        ("library_page_list", "library_page_update", "tag_list", "link_create"),
        (
            Exchange(
                "Which library pages have no tags?",
                "Eleven pages of {area}. For nine of them I can suggest tags that we already use.",
                "library_page_list",
                11,
            ),
            Exchange(
                "Apply those nine.",
                "Tagged. The two others are about events of last year and could be archived.",
                "library_page_update",
                9,
            ),
            Exchange(
                "Which tags are used only once?",
                "Five: three are misspellings of other tags, two are new and worth keeping.",
                "tag_list",
                5,
            ),
        ),
    ),
    Task(
        "Digest writer",
        "Writes the weekly digest of {area}.",
        "Five items, one sentence each, most useful first. Name the people who helped.",
        ("thread_list", "thread_create"),
        (
            Exchange(
                "Write this week's digest for {area}.",
                "Here are the five threads with the most thanks. The first is a beginner's guide "
                "with photographs of every step.",
                "thread_list",
                5,
            ),
            Exchange(
                "Can we thank the author by name?",
                "Of course, I have added: “With thanks to Grace, who answered fourteen questions in it.”",
            ),
            Exchange(
                "Great, post it on Friday morning.",
                "It is saved as a draft for Friday, 8:00.",
                "thread_create",
                1,
            ),
        ),
    ),
    Task(
        "Event planner",
        "Plans meetings of {area} and keeps their lists.",
        "Offer three dates. Mind the time zones. Never share addresses outside the event.",
        ("event_list", "event_create", "event_participant_list"),
        (
            Exchange(
                "When should the next meeting of {area} be?",
                "The last three were on Thursdays and well attended. "
                "The next free ones are the 12th and the 26th.",
                "event_list",
                3,
            ),
            Exchange(
                "Take the 12th, 18:00.",
                "The event is made, and the fourteen people of the last meeting are invited.",
                "event_create",
                1,
            ),
            Exchange(
                "How many have said yes?",
                "Nine yes, two maybe. Somebody asks if the room has a ramp: it does, by the garden door.",
                "event_participant_list",
                11,
            ),
        ),
    ),
    Task(
        "Question finder",
        "Finds questions in {area} that nobody has answered.",
        "A question counts as answered when its author has thanked somebody.",
        ("thread_list", "member_list"),
        (
            Exchange(
                "Which questions are still open?",
                "Seven from the last month in {area}. The oldest has waited for nineteen days.",
                "thread_list",
                7,
            ),
            Exchange(
                "Who could answer the oldest?",
                "Dev and Chloé have both answered questions like it. Shall I mention them?",
                "member_list",
                2,
            ),
            Exchange(
                "Yes, but kindly.", "I wrote: “Dev, Chloé, would one of you have a moment for this one?”"
            ),
        ),
    ),
    Task(
        "Translator",
        "Translates posts of {area} on request.",
        "Keep names and technical terms. Say where you are not sure. Mark translations as such.",
        ("post_get",),
        (
            Exchange(
                "Can you translate the new post in {area} into English?",
                "It is by Hiro: “I have tried this for three weeks and the results are lovely. "
                "Patience matters more than tools.”",
                "post_get",
                1,
            ),
            Exchange(
                "Is “lovely” right?",
                "The original says うつくしい, closer to “beautiful”. I have changed it.",
            ),
            Exchange(
                "Thanks! And my reply into Japanese?",
                "「とても参考になりました。ありがとうございます。」",
            ),
        ),
    ),
    Task(
        "Rule keeper",
        "Answers questions about the rules of {area}.",
        "Quote the rule, then explain it in plain words. Moderators decide, you do not.",
        ("library_page_get",),
        (
            Exchange(
                "May members of {area} post links to their own shops?",
                "Rule 4: “Once a month, in the market thread.” Elsewhere, only if somebody asks.",
                "library_page_get",
                1,
            ),
            Exchange(
                "What if somebody does it by mistake?",
                "The rules suggest a friendly note and moving the post. "
                "Nobody needs a warning for a first time.",
            ),
            Exchange(
                "Write such a note, please.",
                "“Hi! I have moved your post to the market thread, where shop links are welcome. "
                "Good luck with the shop!”",
            ),
        ),
    ),
    Task(
        "Number cruncher",
        "Counts visits, posts and thanks in {area}.",
        "Give numbers with their dates. Do not guess why they change. No numbers about single members.",
        ("statistics_get",),
        (
            Exchange(
                "How was {area} last month?",
                "412 posts, 61 more than the month before, and 38 new threads.",
                "statistics_get",
                3,
            ),
            Exchange(
                "Which day is the busiest?",
                "Sunday, with a fifth of all posts. Tuesdays are the quietest.",
                "statistics_get",
                7,
            ),
            Exchange(
                "Put that into two sentences for the digest.",
                "“You wrote 412 posts last month, most of them on Sundays. Tuesdays are still free!”",
            ),
        ),
    ),
)
