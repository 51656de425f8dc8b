"""Sessions of students with the coding tutor."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from server.demo.dice import DAY, MINUTE, SECOND, Dice, printed
from server.demo.lessons import LESSONS, Lesson, Turn
from server.demo.media import picture, tone
from server.demo.workspace import workspace

Document = dict[str, Any]

SEED = 101


@dataclass(frozen=True, slots=True)
class _Student:
    id: str
    name: str
    languages: tuple[str, ...]
    sessions: int


_STUDENTS = (
    _Student("ada", "Ada", ("en", "en", "fi"), 56),
    _Student("aino", "Aino", ("fi",), 30),
    _Student("lin", "林", ("zh", "en"), 28),
    _Student("min-jun", "민준", ("ko", "en"), 28),
    _Student("omar", "عمر", ("ar", "fr"), 28),
    _Student("priya", "प्रिया", ("hi", "en"), 28),
    _Student("sofia", "Sofía", ("es", "en"), 28),
    _Student("yuki", "ゆき", ("ja", "ja", "en"), 30),
)
_LEVELS = {"turtle": (3, 12), "count": (5, 20), "list": (3, 6)}


def lines() -> Iterator[Document]:
    """Yield the import lines of all students."""
    dice = Dice(SEED)
    for student in _STUDENTS:
        lessons = {lang: [each for each in LESSONS if each.language == lang] for lang in student.languages}
        for _ in range(student.sessions):
            lesson = dice.choice(lessons[dice.choice(student.languages)])
            yield {
                "kind": "user_session",
                "owner": {"user_id": student.id},
                "body": _session(dice, student, lesson),
            }


def _session(dice: Dice, student: _Student, lesson: Lesson) -> Document:
    number = dice.randint(*_LEVELS.get(lesson.program, (4, 30)))
    words = {"n": number, "double": 2 * number, "before": number - 1, "after": number + 1}
    talk = _Talk(dice, words, spoken=dice.once_in(6))
    turns = lesson.turns[: dice.randint(0, len(lesson.turns))]
    talk.open(lesson)
    for turn in turns:
        talk.add(turn)
    saved, blocks = workspace(dice, lesson.program, number)
    unopened = not turns and dice.once_in(2)
    created = dice.moment()
    duration = len(turns) * dice.randint(2 * MINUTE, 7 * MINUTE) + dice.randint(20 * SECOND, MINUTE)
    returned = dice.once_in(4)
    updated = dice.later(created + duration, DAY, 9 * DAY) if returned else created + duration
    replying = bool(turns) and dice.once_in(25)
    if replying:
        talk.unanswered()
    running = bool(turns) and dice.once_in(12)
    uid = dice.uuid()
    return {
        "uuid": uid,
        "sessionId": uid if dice.once_in(2) else dice.uuid(),
        "name": None if unopened or dice.once_in(15) else lesson.name.format(**words),
        "dialogue": None if unopened else talk.items,
        "quickReplies": list(lesson.replies) if turns else dice.choice((None, [])),
        "isReplying": replying,
        "workspace": None if unopened else saved,
        "isVMRunning": running,
        "clients": [dice.uuid()] if replying or running else dice.choice(([], [], None)),
        "language": None if unopened and dice.once_in(2) else lesson.language,
        "easyMode": dice.choice((True, False, False, None)),
        "responseMode": "audio" if talk.spoken else "text",
        "llmContext": lesson.context,
        "tutorial": _tutorial(lesson, len(turns)),
        "stats": {
            "totalConnectingTime": duration // 10**6,
            "currentNumOfBlocks": 0 if unopened else blocks,
            "totalInvokedLLM": talk.answers,
            "totalUserMessages": talk.questions,
            "totalCodeExecutions": talk.runs,
        },
        "audios": talk.audios if talk.spoken else dice.choice((None, [])),
        "userAudio": tone(dice.choice((400, 500)), 40) if talk.audios and dice.once_in(3) else None,
        "screenshot": _screenshot(dice) if turns and dice.once_in(5) else None,
        "clicks": _clicks(dice, created, duration) if turns and dice.once_in(3) else dice.choice((None, [])),
        "userInfo": _user_info(dice, student),
        "createdAt": printed(created),
        "updatedAt": printed(updated),
    }


class _Talk:
    """A dialogue as it grows, and what its statistics count."""

    def __init__(self, dice: Dice, words: dict[str, int], *, spoken: bool) -> None:
        self.dice = dice
        self.words = words
        self.spoken = spoken
        self.items: list[Document] = []
        self.audios: list[Document] = []
        self.questions = self.answers = self.runs = 0
        self._next_id = 1

    def open(self, lesson: Lesson) -> None:
        """Begin with the choice of a tutorial, as the tutor does where there is one."""
        if lesson.tutorial is not None and self.dice.once_in(2):
            self._say("ui", "", ui="selectTutorial")
            self._say("request", lesson.name.format(**self.words), user=True)

    def add(self, turn: Turn) -> None:
        self.questions += 1
        self._say("user_audio" if self.spoken else "user", turn.question, user=True)
        self.answers += 1
        answer = self._say("ai_audio" if self.spoken else "ai", turn.answer)
        if self.spoken:
            self.audios.append(
                {"id": str(answer["id"]), "base64": tone(self.dice.choice((200, 250, 320)), 50)}
            )
        if turn.output:
            self._run(turn.output)

    def unanswered(self) -> None:
        """End with a question that waits for the tutor."""
        self.questions += 1
        self._say("user_audio" if self.spoken else "user", "🤔 ?", user=True)

    def _run(self, output: tuple[str, ...]) -> None:
        self.runs += 1
        if self.dice.once_in(4):
            self.runs += 1
            self._say("error", "ReferenceError: undefined block input at line 3")
            self._say("info", "Code execution stopped.")
        group = self._item("group_log", [])
        group["content"] = [self._item("log", line.format(**self.words)) for line in output]
        self.items.append(group)

    def _say(self, kind: str, text: str, *, user: bool = False, ui: str | None = None) -> Document:
        item = self._item(kind, text.format(**self.words), user=user)
        if ui is not None:
            item["ui"] = ui
        self.items.append(item)
        return item

    def _item(self, kind: str, content: str | list[Document], *, user: bool = False) -> Document:
        item = {"id": self._next_id, "contentType": kind, "isUser": user, "content": content}
        self._next_id += 1
        return item


def _tutorial(lesson: Lesson, turns: int) -> Document:
    if lesson.tutorial is None:
        return {"isTutorial": False, "tutorialId": None, "progress": 0}
    progress = round(100 * turns / len(lesson.turns))
    return {"isTutorial": True, "tutorialId": lesson.tutorial, "progress": progress}


def _screenshot(dice: Dice) -> str:
    return picture(*dice.choice(((124, 58, 237), (14, 165, 233), (34, 197, 94), (249, 115, 22))))


def _clicks(dice: Dice, created: int, duration: int) -> list[Document]:
    moments = sorted(dice.randrange(created, created + duration) for _ in range(dice.randint(2, 8)))
    return [
        {
            "x": round(dice.uniform(0, 1), 4),
            "y": round(dice.uniform(0, 1), 4),
            "value": dice.randint(1, 5),
            "timestamp": moment // 10**6,
        }
        for moment in moments
    ]


def _user_info(dice: Dice, student: _Student) -> Any:
    if dice.once_in(20):
        return {"id": student.id, "username": student.name}
    return None if dice.once_in(40) else student.id
