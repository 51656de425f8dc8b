# ruff: noqa: RUF001 # the lessons are written in the punctuation of their scripts
"""What students and the coding tutor talk about.

In all texts, {n} stands for a small number, {double} for twice as many, {before}
and {after} for its neighbours.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Turn:
    """A question, its answer, and what the student's code printed afterwards."""

    question: str
    answer: str
    output: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Lesson:
    """One thing to learn; `program` names what is in the workspace."""

    language: str
    name: str
    program: str
    turns: tuple[Turn, ...]
    replies: tuple[str, ...]
    tutorial: int | None = None
    context: str | None = None


LESSONS = (
    Lesson(
        "en",
        "A square with a loop",
        "turtle",
        (
            Turn(
                "I used forward and turn right four times. Is there a shorter way?",
                "Yes! Put one `move forward` and one `turn right` inside a **repeat** block and set it to 4. "
                "The loop runs both blocks once for each side.",
            ),
            Turn(
                "It draws only one line now.",
                "Look at where `turn right` is: it sits below the loop, so it runs once, at the end. "
                "Drag it inside, right under `move forward`.",
                ("side 1", "side 2", "side 3", "side 4"),
            ),
            Turn(
                "It works! Can I make a shape with {n} sides?",
                "You can. Repeat {n} times, and turn by 360 divided by {n} degrees each time, "
                "so that you end up facing the way you started.",
            ),
            Turn(
                "Why 360?",
                "Because a full turn is 360 degrees. However many corners a shape has, "
                "going all the way round it is always one full turn.",
            ),
        ),
        ("How do I change the colour?", "Can I draw a circle?", "What is a loop?"),
        tutorial=1,
        context="The student knows move and turn, and is meeting loops for the first time.",
    ),
    Lesson(
        "en",
        "Counting to {n}",
        "count",
        (
            Turn(
                "How do I print the numbers from 1 to {n}?",
                "Use the `count with i from 1 to {n} by 1` block from the loops drawer, "
                "and put `print i` inside it.",
                ("1", "2", "3", "…", "{n}"),
            ),
            Turn(
                "What is i?",
                "`i` is a variable: a box with a name. On each round of the loop it holds the next number.",
            ),
            Turn(
                "How do I count backwards?",
                "Swap the two numbers: from {n} to 1. The block notices that the start is larger "
                "and counts down.",
                ("{n}", "{before}", "…", "1"),
            ),
            Turn(
                "Can it count in twos up to {double}?",
                "Of course: set the last field, `by`, to 2. "
                "Try guessing how many lines it prints before you run it.",
            ),
        ),
        ("What does “by” mean?", "Show me a harder one", "How do I stop early?"),
        tutorial=2,
        context="Counting loops; do not give away the last exercise.",
    ),
    Lesson(
        "en",
        "My first function",
        "function",
        (
            Turn(
                "What is a function for?",
                "A function gives a name to a group of blocks. You write them once and use them wherever "
                "you like, and fixing one mistake fixes it everywhere.",
            ),
            Turn(
                "I made a function greet but nothing happens when I press run.",
                "You have described what `greet` does, but nobody has asked for it yet. "
                "Drag the small `greet` block from the functions drawer under your start block.",
                ("Hello!",),
            ),
            Turn(
                "Can it say hello to different people?",
                "Yes, with an input. Click the cog on the function, add an input called `name`, "
                "then use `name` inside the greeting.",
                ("Hello, Mia!", "Hello, Tom!"),
            ),
            Turn(
                "What is the difference between print and return?",
                "`print` shows a value to people. `return` hands the value back to the code that called the "
                "function, which can keep counting with it.",
            ),
        ),
        ("What is an input?", "Give me an exercise", "Can a function call itself?"),
        tutorial=3,
    ),
    Lesson(
        "en",
        "Is it an even number?",
        "condition",
        (
            Turn(
                "How can I find out if {n} is even?",
                "Divide it by 2 and look at what is left over: the `remainder of {n} ÷ 2` block. "
                "If the remainder is 0, the number is even.",
            ),
            Turn(
                "My if block always says odd.",
                "I can see that you compare the remainder with 1 and then print “odd” in *both* branches. "
                "Change the text in the `else` part to “even”.",
                ("{double} is even",),
            ),
            Turn(
                "Can I check many numbers at once?",
                "Put your `if` inside a counting loop and use `i` in place of {n}. "
                "You have just combined a loop and a condition!",
                ("1 is odd", "2 is even", "3 is odd"),
            ),
        ),
        ("What is a remainder?", "What does else do?", "I want to try with my own number"),
    ),
    Lesson(
        "en",
        "A guessing game",
        "while",
        (
            Turn(
                "I want the computer to think of a number and I guess it.",
                "Great idea. Start with `set secret to random integer from 1 to {double}`. "
                "Then ask for a guess in a `repeat while` loop.",
            ),
            Turn(
                "The loop never stops, even when I guess right.",
                "Inside the loop the guess is never asked again, so it stays wrong for ever. "
                "Move the `ask` block to the inside.",
                ("Your guess?", "Too low", "Your guess?", "You got it!"),
            ),
            Turn(
                "How can it tell me if I am too high or too low?",
                "Compare twice: `if guess < secret` say “too low”, `else if guess > secret` say “too high”.",
            ),
            Turn(
                "How many guesses do I need if I play well?",
                "Always guess the middle of what is left. Each answer halves it, "
                "so even 1 to 1000 takes at most 10 guesses.",
            ),
        ),
        ("How do I count the guesses?", "Make it harder", "What does while mean?"),
        context="Project lesson. Praise ideas; hint before explaining.",
    ),
    Lesson(
        "en",
        "A list of {n} animals",
        "list",
        (
            Turn(
                "How do I keep {n} names without {n} variables?",
                "With a list: one variable that holds many values in order. "
                "Use `create list with` and click the cog for more places.",
            ),
            Turn(
                "How do I print all of them?",
                "Use `for each item animal in list animals` and print `animal` inside. "
                "It works for any length.",
                ("otter", "owl", "lynx"),
            ),
            Turn(
                "It says that item {after} does not exist.",
                "Your list has {n} items, so the last one is number {n}. Asking for number {after} is "
                "one too far, the most popular mistake in programming!",
            ),
        ),
        ("Can I sort a list?", "How do I add one more?", "Is a list a variable?"),
        tutorial=4,
    ),
    Lesson(
        "ja",
        "くり返しで{n}角形をかこう",
        "turtle",
        (
            Turn(
                "同じブロックを{n}回も並べるのが大変です。",
                "よく気がつきましたね！「くり返し」ブロックの中に「前に進む」と「右に曲がる」を入れて、"
                "回数を{n}にしてみましょう。",
            ),
            Turn(
                "線が一本しか出ません。",
                "「右に曲がる」がループの外にあるようです。「前に進む」のすぐ下に動かしてみてください。",
                ("1本目", "2本目", "3本目"),
            ),
            Turn(
                "できました！角度はどうやって決めるの？",
                "ぐるっと一周すると360度です。だから 360 ÷ {n} が、一回に曲がる角度になります。",
            ),
        ),
        ("ループって何？", "色を変えたい", "もっと難しい問題を出して"),
        tutorial=1,
        context="小学五年生。漢字は少なめに。",
    ),
    Lesson(
        "ja",
        "あいさつする関数",
        "function",
        (
            Turn(
                "関数を作ったのに、実行しても何も起きません。",
                "関数は「作る」だけでは動きません。「呼び出す」ブロックをスタートの下につないでみましょう。",
                ("こんにちは！",),
            ),
            Turn(
                "名前を変えてあいさつできますか？",
                "できますよ。歯車をおして、「名前」という引数を足してください。"
                "あいさつの文の中で使えるようになります。",
                ("こんにちは、ゆきさん！", "こんにちは、はるとさん！"),
            ),
            Turn(
                "引数ってなんですか？",
                "関数にわたす材料のことです。材料を変えると、同じ関数でちがう結果が出ます。",
            ),
        ),
        ("戻り値って何？", "例を見せて"),
        tutorial=3,
    ),
    Lesson(
        "fi",
        "Lasketaan lukuun {n}",
        "count",
        (
            Turn(
                "Miten tulostan luvut yhdestä lukuun {n}?",
                "Ota silmukoista lohko `laske i luvusta 1 lukuun {n}` ja laita sen sisään `tulosta i`.",
                ("1", "2", "3", "…", "{n}"),
            ),
            Turn(
                "Mikä tuo i on?",
                "Se on muuttuja, siis nimetty laatikko. Joka kierroksella laatikossa on seuraava luku.",
            ),
            Turn(
                "Voiko laskea takaperin?",
                "Voi! Vaihda luvut toisin päin: luvusta {n} lukuun 1. Kokeile, mitä tapahtuu.",
                ("{n}", "{before}", "…", "1"),
            ),
        ),
        ("Mikä on silmukka?", "Anna vaikeampi tehtävä", "Miten pysäytän sen?"),
        tutorial=2,
        context="Oppilas on 11-vuotias. Lyhyitä lauseita, älä anna valmista ratkaisua.",
    ),
    Lesson(
        "fi",
        "Arvaa luku",
        "while",
        (
            Turn(
                "Haluan tehdä arvauspelin.",
                "Mainio ajatus! Aloita näin: aseta muuttujaan `salaisuus` satunnainen luku "
                "väliltä 1–{double}.",
            ),
            Turn(
                "Peli ei lopu, vaikka arvaan oikein.",
                "Kysymys on silmukan ulkopuolella, joten arvaus ei koskaan vaihdu. "
                "Siirrä `kysy`-lohko silmukan sisään.",
                ("Arvaa!", "Liian pieni", "Arvaa!", "Oikein, hyvä!"),
            ),
            Turn(
                "Miten näen, montako kertaa arvasin?",
                "Tee muuttuja `arvaukset`, aseta se aluksi nollaksi ja kasvata sitä yhdellä "
                "joka kierroksella.",
            ),
        ),
        ("Mitä “kunnes” tarkoittaa?", "Tehdään siitä vaikeampi"),
    ),
    Lesson(
        "fr",
        "Pair ou impair ?",
        "condition",
        (
            Turn(
                "Comment savoir si {n} est pair ?",
                "Regarde le reste de la division par 2. S’il vaut 0, le nombre est pair.",
            ),
            Turn(
                "Mon programme affiche toujours « impair ».",
                "Tu affiches le même texte dans les deux branches. Change celui du bloc `sinon`.",
                ("{double} est pair",),
            ),
            Turn(
                "Et pour tous les nombres jusqu’à {n} ?",
                "Place ta condition dans une boucle et remplace {n} par la variable `i`. "
                "Bravo, tu combines deux idées !",
            ),
        ),
        ("C’est quoi le reste ?", "Un autre exercice"),
        context="Élève de 6e, débutant.",
    ),
    Lesson(
        "es",
        "Una lista con {n} frutas",
        "list",
        (
            Turn(
                "¿Cómo guardo {n} frutas sin crear {n} variables?",
                "Con una lista: una sola variable que guarda muchos valores en orden. "
                "¡Prueba `crear lista con`!",
            ),
            Turn(
                "¿Y cómo las muestro todas?",
                "Usa `para cada elemento` y dentro muestra la variable `fruta`.",
                ("manzana", "pera", "mango"),
            ),
            Turn(
                "Me dice que el elemento {after} no existe.",
                "Tu lista tiene {n} elementos, así que el último es el número {n}. Te has pasado por uno.",
            ),
        ),
        ("¿Puedo ordenarla?", "Quiero añadir otra"),
        tutorial=4,
    ),
    Lesson(
        "ko",
        "{n}번 반복하기",
        "count",
        (
            Turn(
                "1부터 {n}까지 어떻게 출력해요?",
                "반복 블록에서 1부터 {n}까지로 정하고, 그 안에 ‘출력 i’를 넣어 보세요.",
            ),
            Turn(
                "i가 뭐예요?",
                "값을 담는 상자, 바로 변수예요. 한 번 돌 때마다 다음 숫자가 들어가요.",
                ("1", "2", "3"),
            ),
            Turn("거꾸로 셀 수도 있어요?", "그럼요! {n}부터 1까지로 바꿔 보세요.", ("{n}", "{before}", "…")),
        ),
        ("반복문이 뭐예요?", "더 어려운 문제 주세요"),
        tutorial=2,
    ),
    Lesson(
        "zh",
        "画一个{n}边形",
        "turtle",
        (
            Turn(
                "我想画{n}条边，一定要放{n}个积木吗？",
                "不用！把“前进”和“右转”放进“重复”积木里，次数设为{n}就可以了。",
            ),
            Turn(
                "每次要转多少度？",
                "转一整圈是360度，所以每次转 360 ÷ {n} 度。",
                ("第1条边", "第2条边", "第3条边"),
            ),
            Turn("成功了！可以换颜色吗？", "当然可以，在循环里加一个“设置颜色”积木，试试随机颜色吧。"),
        ),
        ("什么是循环？", "再来一题"),
        tutorial=1,
    ),
    Lesson(
        "hi",
        "मेरा पहला फ़ंक्शन",
        "function",
        (
            Turn(
                "फ़ंक्शन किस काम आता है?",
                "फ़ंक्शन कई ब्लॉकों को एक नाम देता है। एक बार बनाइए और जहाँ चाहें वहाँ इस्तेमाल कीजिए।",
            ),
            Turn(
                "चलाने पर कुछ नहीं होता।",
                "आपने फ़ंक्शन बनाया है, पर उसे बुलाया नहीं है। स्टार्ट के नीचे उसका छोटा ब्लॉक लगाइए।",
                ("नमस्ते!",),
            ),
            Turn("क्या यह अलग-अलग नाम ले सकता है?", "हाँ! फ़ंक्शन में ‘नाम’ नाम का इनपुट जोड़िए और उसे संदेश में लगाइए।"),
        ),
        ("इनपुट क्या है?", "एक अभ्यास दीजिए"),
        tutorial=3,
    ),
    Lesson(
        "ar",
        "هل العدد زوجي؟",
        "condition",
        (
            Turn(
                "كيف أعرف إن كان العدد {n} زوجيًا؟",
                "اقسمه على 2 وانظر إلى الباقي. إذا كان الباقي 0 فالعدد زوجي.",
            ),
            Turn(
                "البرنامج يطبع «فردي» دائمًا.",
                "النص نفسه موجود في الفرعين. غيّر النص في فرع «وإلا» إلى «زوجي».",
                ("زوجي",),
            ),
            Turn("هل يمكنني فحص أعداد كثيرة؟", "نعم، ضع الشرط داخل حلقة واستعمل المتغير i بدل العدد {n}."),
        ),
        ("ما هو الباقي؟", "أعطني تمرينًا آخر"),
    ),
)
