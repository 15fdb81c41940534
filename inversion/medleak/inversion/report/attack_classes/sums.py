"""What a replayed sum over sites stands for, and who sees such a sum."""

from collections.abc import Iterable

from medleak.inversion.report.attack_classes.answer import Recipient
from medleak.inversion.report.model import Audit
from medleak.inversion.report.values import listing, mapping
from medleak.inversion.results.replays import is_null, replay_of, sums_over_sites


def summed_over(defences: Iterable[str]) -> dict[str, int]:
    """Those that replay a sum, each with over how many sites, fewest first."""
    found = {}
    for text in dict.fromkeys(defences):
        if sums_over_sites(text) and not is_null(text):
            try:
                found[text] = replay_of(text).sites
            except ValueError:  # of a file that somebody wrote by hand
                continue
    return dict(sorted(found.items(), key=lambda entry: entry[1]))


def who_sees(audit: Audit, sites: int) -> list[Recipient]:
    """Who sees a sum over ``sites``: such a server, and another site where it is over all others.

    Another site is sent the average of all, and can take its own update out of it. A sum over fewer
    says nothing of what it learns.
    """
    recorded = len(listing(mapping(audit.config.get("recorded")).get("sites")))
    others = recorded > 2 and sites >= recorded - 1
    return [Recipient.SUM, Recipient.SITES] if others else [Recipient.SUM]
