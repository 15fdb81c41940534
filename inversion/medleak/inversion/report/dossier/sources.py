"""What regulations, standards and guidance ask, and which answers of an audit speak to it.

In words of our own, and no legal advice. ``basis`` says how each was read: ``text``, the words
themselves, in a copy of the text or on the source's own page; ``quoted``, as another text quotes
them; ``headings``, its table of contents alone; ``secondary``, as others report it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from medleak.inversion.report.attack_classes.answer import Recipient
from medleak.inversion.report.attack_classes.registry import ROWS
from medleak.inversion.report.dossier.record import Basis

MODEL, SERVER = Recipient.FINAL_MODEL, Recipient.SERVER


@dataclass(frozen=True, slots=True, kw_only=True)
class Asks:
    """One requirement.

    Attributes:
        place: Where in the source.
        asks: What it asks, in our words.
        basis: How it was read.
        classes: Of attack (`AttackClass.name`), each by whom; None: by anybody it is about.
        facts: Names in `medleak.inversion.report.dossier.facts.FACTS`.
        beyond: What no figure of an audit decides.
    """

    place: str
    asks: str
    basis: Basis
    classes: Sequence[tuple[str, Recipient | None]] = ()
    facts: Sequence[str] = ()
    beyond: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A source and what it asks; ``address``: of the text, or of the copy that was read."""

    name: str
    title: str
    address: str
    requirements: Sequence[Asks]


_ALL = tuple((row.name, None) for row in ROWS)
_OF_MODEL = (
    ("model_inversion", MODEL),
    ("membership_inference", MODEL),
    ("attribute_inference", MODEL),
)
_PERSONAL = "whether a model or an update is personal data is a legal question"

SOURCES: Sequence[Text] = (
    Text(
        name="edpb_28_2024",
        title="EDPB, Opinion 28/2024 on AI models, 17 December 2024",
        address="https://globalregulatoryinsights.com/art/opinion-28-2024-on-certain-data-protection-"
        "aspects-related-to-the-processing-of-personal-data-in-the-context-of-ai-models",
        requirements=(
            Asks(
                place="executive summary, first question",
                asks="That extracting data of those whose data trained the model is of "
                "insignificant likelihood, directly or with some probability.",
                basis="text",
                classes=_OF_MODEL,
                beyond=f"what is insignificant is not a figure's to say; {_PERSONAL}",
            ),
            Asks(
                place="executive summary, first question",
                asks="That obtaining such data from queries to the model, on purpose or not, is "
                "of insignificant likelihood.",
                basis="text",
                classes=(("membership_inference", MODEL),),
                beyond="queries to a system in use are not simulated",
            ),
            Asks(
                place="executive summary, first question",
                asks="That all means are considered that the controller or another person is "
                "reasonably likely to use.",
                basis="text",
                classes=_ALL,
                facts=("knowledge",),
                beyond="who is likely to try is not a figure's to say",
            ),
            Asks(
                place="on resistance to attacks",
                asks="That attacks were tried: attribute and membership inference, exfiltration, "
                "regurgitation, model inversion, reconstruction.",
                basis="secondary",
                classes=(
                    ("attribute_inference", None),
                    ("membership_inference", None),
                    ("model_inversion", None),
                    ("reconstruction", None),
                ),
                beyond="exfiltration and regurgitation are not tried",
            ),
            Asks(
                place="on documentation",
                asks="That measures against identification, and their tests, are documented.",
                basis="secondary",
                facts=("protections", "repeatable"),
                beyond="organisational measures are the controller's to write down",
            ),
        ),
    ),
    Text(
        name="ai_act_15_5",
        title="Regulation (EU) 2024/1689 (AI Act), Article 15(5)",
        address="http://data.europa.eu/eli/reg/2024/1689/oj",
        requirements=(
            Asks(
                place="Article 15(5)",
                asks="Of high-risk systems: measures, where appropriate, to prevent, detect and "
                "answer confidentiality attacks.",
                basis="quoted",
                classes=_ALL,
                facts=("protections",),
            ),
            Asks(
                place="Article 15(5)",
                asks="The same of data and model poisoning, and of inputs that mislead the model.",
                basis="quoted",
                beyond="medleak does not try whether a model was poisoned or can be misled",
            ),
        ),
    ),
    Text(
        name="ehds_77",
        title="Regulation (EU) 2025/327 (European Health Data Space), recital 77",
        address="http://data.europa.eu/eli/reg/2025/327/oj",
        requirements=(
            Asks(
                place="recital 77",
                asks="That only non-personal electronic health data leave, by download, the "
                "environment in which they are processed.",
                basis="text",
                classes=_OF_MODEL,
                beyond=_PERSONAL,
            ),
        ),
    ),
    Text(
        name="nist_800_226",
        title="NIST SP 800-226, Evaluating Differential Privacy Guarantees, March 2025",
        address="https://doi.org/10.6028/NIST.SP.800-226",
        requirements=(
            Asks(
                place="pyramid, top",
                asks="The privacy parameter ε, and the unit that it protects.",
                basis="secondary",
                facts=("epsilon",),
            ),
            Asks(
                place="pyramid, middle",
                asks="That the mechanism is correct, and has what it claims.",
                basis="secondary",
                facts=("epsilon_tried",),
                beyond="a bound below the claimed ε proves nothing; filters are tried by medleak "
                "dp-audit KIT, beside any audit",
            ),
            Asks(
                place="pyramid, middle",
                asks="The trust model: who has to be trusted with what.",
                basis="secondary",
                facts=("recipients",),
            ),
            Asks(
                place="pyramid, middle and bottom",
                asks="Side channels, access to the data, and how they were collected.",
                basis="secondary",
                beyond="nothing of it is seen in updates",
            ),
        ),
    ),
    Text(
        name="iso_27559",
        title="ISO/IEC 27559:2022, Privacy enhancing data de-identification framework",
        address="https://standards.iteh.ai/catalog/standards/iso/af037672-7282-4feb-ac2c-93415309c109/"
        "iso-iec-27559-2022",
        requirements=(
            Asks(
                place="6.2 Threat modelling",
                asks="Who might attack, and what he knows.",
                basis="headings",
                facts=("knowledge", "recipients"),
                beyond="motives are not a figure's to say",
            ),
            Asks(
                place="7.3.2 Maximum or average risk",
                asks="Risk at worst, or on average.",
                basis="headings",
                facts=("worst_and_mean",),
            ),
            Asks(
                place="8.2.2 Quantifying identifiability",
                asks="How far single persons can be told.",
                basis="headings",
                classes=(("reidentification", None), ("membership_inference", None)),
            ),
            Asks(
                place="8.2.3 Adversarial testing",
                asks="That attacks are tried.",
                basis="headings",
                classes=_ALL,
                facts=("health",),
            ),
            Asks(
                place="8.3.4 Re-evaluation",
                asks="That the assessment is repeated.",
                basis="headings",
                facts=("repeat",),
            ),
        ),
    ),
    Text(
        name="ico_pets",
        title="ICO, privacy-enhancing technologies (2023), and on federated learning (2024)",
        address="https://rtau.blog.gov.uk/2024/11/28/"
        "data-protection-considerations-for-implementing-federated-learning-a-regulators-perspective",
        requirements=(
            Asks(
                place="on federated learning, introduction",
                asks="That risks which remain are looked at, as these technologies are no silver "
                "bullet.",
                basis="text",
                classes=_ALL,
                facts=("recipients",),
            ),
            Asks(
                place="guidance, federated learning",
                asks="That security is appropriate, together with other such technologies.",
                basis="text",
                facts=("protections",),
                beyond="what is appropriate is not a figure's to say",
            ),
        ),
    ),
)
"""By the order of the annex. Copies were read on 2026-11-28."""

BASES = {
    "text": "the words were read, in a copy of the text or on the source's page",
    "quoted": "the words were read as another text quotes them",
    "headings": "only the table of contents was read",
    "secondary": "as secondary sources report it; the text was not read",
}
"""What each basis means, for a reader."""
