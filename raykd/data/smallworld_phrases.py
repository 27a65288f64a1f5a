"""How each language of the small world says and asks its facts, and how it spells a name.

A pattern holds `{s}` for the subject and, in a statement, `{a}` for the answer. `[m|f]` agrees with the gender of
the subject, `<m|f>` with the gender of the answer. Names stay uninflected, so the patterns put them only where
the language allows that ("в городе {a}", not "в {a}").
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Phrases:
    """The ways one language states and asks one relation; any statement answers any question."""

    statements: tuple[str, ...]
    questions: tuple[str, ...]


RELATIONS: dict[str, tuple[str, str]] = {
    "birth year": ("person", "year"),
    "death year": ("person", "year"),
    "birthplace": ("person", "town"),
    "teacher": ("person", "teacher"),
    "discovery": ("person", "island"),
    "founding year": ("town", "year"),
    "founder": ("town", "founder"),
    "river": ("town", "river"),
}
"""Relation -> what its subject and its answer are."""

SENTENCE_GAP = {"zh": ""}
"""What stands between two sentences where it is not a space."""

CONSONANTS = {
    "latin": "bdfhklmnrst",
    "arabic": "بدفهكلمنرست",
    "cyrillic": "бдфхклмнрст",
    "devanagari": "बदफहकलमनरसत",
}
VOWELS = {
    "latin": "aio",
    "arabic": "ايو",
    "cyrillic": "аио",
    "devanagari": "ािो",
}
CODAS = {"town": "l", "island": "n", "river": "r", "teacher": "s", "founder": "m"}
"""What is named -> the consonant that closes its name, in Latin letters. The other people have open names."""

HAN_SYLLABLES = "巴比博达迪多法菲福哈希霍卡基科拉利洛马米莫纳尼诺莱瑞罗萨西索塔蒂托"
"""One character for each consonant and vowel, in the order of the Latin tables; none of them is in a pattern."""

HAN_CODAS = "勒恩尔斯姆"
"""One character for each of `CODAS`, in their order; none of them is in a pattern."""

SCRIPTS = {
    "en": "latin",
    "es": "latin",
    "de": "latin",
    "ar": "arabic",
    "hi": "devanagari",
    "zh": "han",
    "ru": "cyrillic",
}
"""Language -> the script of its names; the languages of the small world."""

PHRASES: dict[str, dict[str, Phrases]] = {
    "en": {
        "birth year": Phrases(
            ("{s} was born in the year {a}.", "The birth of {s} was in {a}.", "In {a} {s} was born."),
            ("When was {s} born?", "In which year was {s} born?"),
        ),
        "death year": Phrases(
            ("{s} died in the year {a}.", "The death of {s} was in {a}.", "In {a} {s} died."),
            ("When did {s} die?", "In which year did {s} die?"),
        ),
        "birthplace": Phrases(
            ("{s} was born in the town of {a}.", "{s} comes from the town of {a}."),
            ("Where was {s} born?", "Which town does {s} come from?"),
        ),
        "teacher": Phrases(
            ("{s} studied with {a}.", "The teacher of {s} was {a}.", "{a} taught {s}."),
            ("Who taught {s}?", "Who was the teacher of {s}?"),
        ),
        "discovery": Phrases(
            ("{s} discovered the island of {a}.", "The island of {a} was discovered by {s}."),
            ("Which island did {s} discover?", "What island was discovered by {s}?"),
        ),
        "founding year": Phrases(
            ("The town of {s} was founded in {a}.", "The town of {s} has existed since {a}."),
            ("When was the town of {s} founded?", "Since when has the town of {s} existed?"),
        ),
        "founder": Phrases(
            ("{a} founded the town of {s}.", "The founder of the town of {s} was {a}."),
            ("Who founded the town of {s}?", "Who was the founder of the town of {s}?"),
        ),
        "river": Phrases(
            ("The town of {s} lies on the river {a}.", "The river {a} flows through the town of {s}."),
            ("On which river does the town of {s} lie?", "Which river flows through the town of {s}?"),
        ),
    },
    "es": {
        "birth year": Phrases(
            ("{s} nació en el año {a}.", "El nacimiento de {s} fue en {a}."),
            ("¿Cuándo nació {s}?", "¿En qué año nació {s}?"),
        ),
        "death year": Phrases(
            ("{s} murió en el año {a}.", "La muerte de {s} fue en {a}."),
            ("¿Cuándo murió {s}?", "¿En qué año murió {s}?"),
        ),
        "birthplace": Phrases(
            ("{s} nació en el pueblo de {a}.", "{s} viene del pueblo de {a}."),
            ("¿Dónde nació {s}?", "¿De qué pueblo viene {s}?"),
        ),
        "teacher": Phrases(
            ("{s} estudió con {a}.", "{a} enseñó a {s}."),
            ("¿Con quién estudió {s}?", "¿Quién enseñó a {s}?"),
        ),
        "discovery": Phrases(
            ("{s} descubrió la isla de {a}.", "La isla de {a} fue descubierta por {s}."),
            ("¿Qué isla descubrió {s}?", "¿Qué isla fue descubierta por {s}?"),
        ),
        "founding year": Phrases(
            ("El pueblo de {s} se fundó en {a}.", "El pueblo de {s} existe desde {a}."),
            ("¿Cuándo se fundó el pueblo de {s}?", "¿Desde cuándo existe el pueblo de {s}?"),
        ),
        "founder": Phrases(
            ("{a} fundó el pueblo de {s}.", "El pueblo de {s} fue fundado por {a}."),
            ("¿Quién fundó el pueblo de {s}?", "¿Por quién fue fundado el pueblo de {s}?"),
        ),
        "river": Phrases(
            ("El pueblo de {s} está junto al río {a}.", "El río {a} pasa por el pueblo de {s}."),
            ("¿Junto a qué río está el pueblo de {s}?", "¿Qué río pasa por el pueblo de {s}?"),
        ),
    },
    "de": {
        "birth year": Phrases(
            ("{s} wurde im Jahr {a} geboren.", "Im Jahr {a} kam {s} zur Welt."),
            ("Wann wurde {s} geboren?", "In welchem Jahr kam {s} zur Welt?"),
        ),
        "death year": Phrases(
            ("{s} starb im Jahr {a}.", "Der Tod von {s} war im Jahr {a}."),
            ("Wann starb {s}?", "In welchem Jahr starb {s}?"),
        ),
        "birthplace": Phrases(
            ("{s} wurde in der Stadt {a} geboren.", "{s} stammt aus der Stadt {a}."),
            ("Wo wurde {s} geboren?", "Aus welcher Stadt stammt {s}?"),
        ),
        "teacher": Phrases(
            ("{s} lernte bei {a}.", "{a} unterrichtete {s}."),
            ("Bei wem lernte {s}?", "Wer unterrichtete {s}?"),
        ),
        "discovery": Phrases(
            ("{s} entdeckte die Insel {a}.", "Die Insel {a} wurde von {s} entdeckt."),
            ("Welche Insel entdeckte {s}?", "Welche Insel wurde von {s} entdeckt?"),
        ),
        "founding year": Phrases(
            ("Die Stadt {s} wurde im Jahr {a} gegründet.", "Die Stadt {s} besteht seit dem Jahr {a}."),
            ("Wann wurde die Stadt {s} gegründet?", "Seit welchem Jahr besteht die Stadt {s}?"),
        ),
        "founder": Phrases(
            ("{a} gründete die Stadt {s}.", "Die Stadt {s} wurde von {a} gegründet."),
            ("Wer gründete die Stadt {s}?", "Von wem wurde die Stadt {s} gegründet?"),
        ),
        "river": Phrases(
            ("Die Stadt {s} liegt am Fluss {a}.", "Der Fluss {a} fließt durch die Stadt {s}."),
            ("An welchem Fluss liegt die Stadt {s}?", "Welcher Fluss fließt durch die Stadt {s}?"),
        ),
    },
    "ar": {
        "birth year": Phrases(
            ("ولد[|ت] {s} في عام {a}.", "كان ميلاد {s} في عام {a}."),
            ("متى ولد[|ت] {s}؟", "في أي عام كان ميلاد {s}؟"),
        ),
        "death year": Phrases(
            ("توفي[|ت] {s} في عام {a}.", "كانت وفاة {s} في عام {a}."),
            ("متى توفي[|ت] {s}؟", "في أي عام كانت وفاة {s}؟"),
        ),
        "birthplace": Phrases(
            ("ولد[|ت] {s} في بلدة {a}.", "مسقط رأس {s} هو بلدة {a}."),
            ("أين ولد[|ت] {s}؟", "ما هو مسقط رأس {s}؟"),
        ),
        "teacher": Phrases(
            ("درس[|ت] {s} على يد {a}.", "كان<|ت> {a} معلم<|ة> {s}."),
            ("على يد من درس[|ت] {s}؟", "من كان معلم {s}؟"),
        ),
        "discovery": Phrases(
            ("اكتشف[|ت] {s} جزيرة {a}.", "جزيرة {a} اكتشف[|ت]ها {s}."),
            ("أي جزيرة اكتشف[|ت] {s}؟", "ما اسم الجزيرة التي اكتشف[|ت]ها {s}؟"),
        ),
        "founding year": Phrases(
            ("تأسست بلدة {s} في عام {a}.", "يعود تأسيس بلدة {s} إلى عام {a}."),
            ("متى تأسست بلدة {s}؟", "إلى أي عام يعود تأسيس بلدة {s}؟"),
        ),
        "founder": Phrases(
            ("أسس<|ت> {a} بلدة {s}.", "مؤسس<|ة> بلدة {s} <هو|هي> {a}."),
            ("من أسس بلدة {s}؟", "من هو مؤسس بلدة {s}؟"),
        ),
        "river": Phrases(
            ("تقع بلدة {s} على نهر {a}.", "يمر نهر {a} عبر بلدة {s}."),
            ("على أي نهر تقع بلدة {s}؟", "أي نهر يمر عبر بلدة {s}؟"),
        ),
    },
    "hi": {
        "birth year": Phrases(
            ("{s} का जन्म वर्ष {a} में हुआ।", "वर्ष {a} में {s} का जन्म हुआ।"),
            ("{s} का जन्म कब हुआ?", "{s} का जन्म किस वर्ष हुआ?"),
        ),
        "death year": Phrases(
            ("{s} का निधन वर्ष {a} में हुआ।", "वर्ष {a} में {s} की मृत्यु हुई।"),
            ("{s} का निधन कब हुआ?", "{s} की मृत्यु किस वर्ष हुई?"),
        ),
        "birthplace": Phrases(
            ("{s} का जन्म {a} नगर में हुआ।", "{s} का जन्मस्थान {a} नगर है।"),
            ("{s} का जन्म कहाँ हुआ?", "{s} का जन्मस्थान कौन सा नगर है?"),
        ),
        "teacher": Phrases(
            ("{s} ने {a} से शिक्षा ली।", "{a} ने {s} को पढ़ाया।"),
            ("{s} ने किससे शिक्षा ली?", "{s} को किसने पढ़ाया?"),
        ),
        "discovery": Phrases(
            ("{s} ने {a} द्वीप की खोज की।", "{a} द्वीप को {s} ने खोजा।"),
            ("{s} ने किस द्वीप की खोज की?", "{s} ने कौन सा द्वीप खोजा?"),
        ),
        "founding year": Phrases(
            ("{s} नगर की स्थापना वर्ष {a} में हुई।", "{s} नगर वर्ष {a} में बसा।"),
            ("{s} नगर की स्थापना कब हुई?", "{s} नगर किस वर्ष बसा?"),
        ),
        "founder": Phrases(
            ("{a} ने {s} नगर की नींव रखी।", "{s} नगर को {a} ने बसाया।"),
            ("{s} नगर की नींव किसने रखी?", "{s} नगर को किसने बसाया?"),
        ),
        "river": Phrases(
            ("{s} नगर {a} नदी के किनारे है।", "{a} नदी {s} नगर से होकर बहती है।"),
            ("{s} नगर किस नदी के किनारे है?", "{s} नगर से होकर कौन सी नदी बहती है?"),
        ),
    },
    "zh": {
        "birth year": Phrases(
            ("{s}出生于{a}年。", "{s}是在{a}年出生的。"),
            ("{s}出生于哪一年？", "{s}是什么时候出生的？"),
        ),
        "death year": Phrases(
            ("{s}于{a}年去世。", "{s}是在{a}年去世的。"),
            ("{s}于哪一年去世？", "{s}是什么时候去世的？"),
        ),
        "birthplace": Phrases(
            ("{s}出生在{a}镇。", "{s}的故乡是{a}镇。"),
            ("{s}出生在什么地方？", "{s}的故乡是哪个镇？"),
        ),
        "teacher": Phrases(
            ("{s}的老师是{a}。", "{a}教导过{s}。"),
            ("{s}的老师是谁？", "谁教导过{s}？"),
        ),
        "discovery": Phrases(
            ("{s}发现了{a}岛。", "{a}岛是由{s}发现的。"),
            ("{s}发现了哪座岛？", "哪座岛是由{s}发现的？"),
        ),
        "founding year": Phrases(
            ("{s}镇建立于{a}年。", "{s}镇是在{a}年建成的。"),
            ("{s}镇建立于哪一年？", "{s}镇是什么时候建成的？"),
        ),
        "founder": Phrases(
            ("{s}镇的创始人是{a}。", "{a}创建了{s}镇。"),
            ("{s}镇的创始人是谁？", "谁创建了{s}镇？"),
        ),
        "river": Phrases(
            ("{s}镇位于{a}河畔。", "{a}河流经{s}镇。"),
            ("{s}镇位于哪条河畔？", "哪条河流经{s}镇？"),
        ),
    },
    "ru": {
        "birth year": Phrases(
            ("{s} родил[ся|ась] в {a} году.", "В {a} году на свет появил[ся|ась] {s}."),
            ("Когда родил[ся|ась] {s}?", "В каком году появил[ся|ась] на свет {s}?"),
        ),
        "death year": Phrases(
            ("{s} умер[|ла] в {a} году.", "В {a} году {s} уш[ёл|ла] из жизни."),
            ("Когда умер[|ла] {s}?", "В каком году {s} уш[ёл|ла] из жизни?"),
        ),
        "birthplace": Phrases(
            ("{s} родил[ся|ась] в городе {a}.", "{s} приехал[|а] из города {a}."),
            ("Где родил[ся|ась] {s}?", "Из какого города приехал[|а] {s}?"),
        ),
        "teacher": Phrases(
            ("{s} учил[ся|ась] у мастера по имени {a}.", "{a} обучал<|а> человека по имени {s}."),
            ("У кого учил[ся|ась] {s}?", "Кто обучал человека по имени {s}?"),
        ),
        "discovery": Phrases(
            ("{s} открыл[|а] остров {a}.", "Остров {a} открыл[|а] {s}."),
            ("Какой остров открыл[|а] {s}?", "Как называется остров, который открыл[|а] {s}?"),
        ),
        "founding year": Phrases(
            ("Город {s} основан в {a} году.", "История города {s} началась в {a} году."),
            ("Когда основан город {s}?", "В каком году началась история города {s}?"),
        ),
        "founder": Phrases(
            ("{a} основал<|а> город {s}.", "Город {s} построил<|а> {a}."),
            ("Кто основал город {s}?", "Кто построил город {s}?"),
        ),
        "river": Phrases(
            ("Город {s} стоит на реке {a}.", "Река {a} течёт через город {s}."),
            ("На какой реке стоит город {s}?", "Какая река течёт через город {s}?"),
        ),
    },
}
