import pytest

from medleak.custom.record import UpdateInfo, utc_now
from medleak.filters.privacy import accounting, ledger
from medleak.filters.privacy.ledger import Spend
from medleak.inversion.dp_audit.claims import claim_of

DP = {"noise_multiplier": 1.0, "sample_rate": 0.5, "steps": 4}
DELTA = 1e-5


def info(round=0, defences=(), head=None):
    return UpdateInfo(round=round, site="site-1", time=utc_now(), defences=defences, ledger=head)


def declared(name, args):
    return ({"name": name, "args": args},)


def test_rounds_add_up_by_the_ledgers_own_accounting():
    rounds = [info(k, declared("dp_sgd", DP)) for k in range(3)]
    expected = accounting.epsilon([accounting.dp_sgd(**DP).event] * 3, DELTA)
    claim = claim_of(rounds, DELTA, book=None)
    assert claim.epsilon == pytest.approx(expected)
    assert "declared" in claim.by


@pytest.mark.parametrize(
    "defences",
    [
        (),
        declared("percentile_gaussian", {"sigma0": 1.0}),
        declared("of another maker", {"epsilon": 1}),
        declared("dp_sgd", {"noise_multiplier": -1, "sample_rate": 0.5, "steps": 1}),
    ],
)
def test_a_heuristic_and_what_cannot_be_counted_claim_nothing(defences):
    assert claim_of([info(0, defences)], DELTA, book=None).epsilon is None


def test_a_round_without_a_guarantee_leaves_none_for_all():
    rounds = [info(0, declared("dp_sgd", DP)), info(1)]
    assert claim_of(rounds, DELTA, book=None).epsilon is None


def test_of_two_guarantees_the_strictest_counts():
    clipped = {"max_grad_norm": 1.0, "noise_multiplier": 40.0}
    both = (*declared("dp_sgd", DP), *declared("clipped_gaussian", clipped))
    strict = claim_of([info(0, declared("clipped_gaussian", clipped))], DELTA, book=None).epsilon
    assert claim_of([info(0, both)], DELTA, book=None).epsilon == strict


def book_of(path, count=2):
    lines = []
    for round in range(count):
        spend = Spend(
            job="job",
            round=round,
            site="site-1",
            defences=({"name": "dp_sgd", "args": DP},),
            guarantees=(accounting.dp_sgd(**DP),),
            delta=DELTA,
        )
        lines.append(ledger.append(path, spend))
    return lines


def test_the_lines_that_the_record_names_count(tmp_path):
    book = tmp_path / ledger.FILE_NAME
    lines = book_of(book)
    heads = [{"entries": e.number, "head": e.hash} for e in lines]
    claim = claim_of([info(1, head=heads[1])], DELTA, book=book)
    assert claim.epsilon == pytest.approx(
        accounting.epsilon([accounting.dp_sgd(**DP).event], DELTA)
    )
    assert claim.by == "the site's ledger"


@pytest.mark.parametrize("head", [None, {"entries": 9, "head": "0" * 64}])
def test_a_round_that_the_ledger_does_not_know_is_refused(tmp_path, head):
    book = tmp_path / ledger.FILE_NAME
    book_of(book)
    with pytest.raises(ValueError, match="has no line in"):
        claim_of([info(0, head=head)], DELTA, book=book)


def test_a_copy_that_a_site_handed_over_does_as_well(tmp_path):
    (line, _) = book_of(tmp_path / ledger.FILE_NAME)
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes((tmp_path / ledger.FILE_NAME).read_bytes())
    head = {"entries": line.number, "head": line.hash}
    assert claim_of([info(0, head=head)], DELTA, book=copy).epsilon is not None


def test_one_line_is_not_that_of_two_rounds_nor_of_another_site(tmp_path):
    book = tmp_path / ledger.FILE_NAME
    line, _ = book_of(book)
    head = {"entries": line.number, "head": line.hash}
    with pytest.raises(ValueError, match="two releases cannot be one"):
        claim_of([info(0, head=head), info(1, head=head)], DELTA, book=book)
    other = info(0, head=head).model_copy(update={"site": "site-2"})
    with pytest.raises(ValueError, match="has no line in"):
        claim_of([other], DELTA, book=book)
