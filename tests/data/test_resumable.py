"""Jobs are all done, failures arrive, and a changed request is named."""

import pytest

from jaxphys.data.resumable import (
    begin,
    make_pieces,
    partial_of,
    progress_bar,
    require_equal,
    run_jobs,
)


def double(number, fail=False):
    if fail:
        raise ValueError(f"job {number}")
    return 2 * number


@pytest.mark.parametrize("workers", [1, 2])
def test_every_job_is_done_once(workers):
    found = list(run_jobs(double, [(n,) for n in range(5)], workers))
    assert sorted(found) == [((n,), 2 * n) for n in range(5)]
    assert list(run_jobs(double, [], workers)) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_failure_of_a_job_arrives(workers):
    with pytest.raises(ValueError, match="job 1"):
        list(run_jobs(double, [(0,), (1, True), (2,)], workers))


def write(folder, number):
    (folder / str(number)).write_text("x" * number)
    return number


@pytest.mark.parametrize("workers", [1, 2])
def test_only_missing_pieces_are_made(tmp_path, workers, capsys):
    folder = partial_of(tmp_path / "result")
    assert begin(folder, {"pieces": 4})
    write(folder, 2)
    made = []

    def words(results):
        made[:] = results
        return f"{sum(results)} in all"

    for _ in range(2):
        make_pieces(
            write,
            [(folder, n) for n in range(1, 5)],
            workers,
            title="work",
            unit="piece",
            is_done=lambda job: (job[0] / str(job[1])).is_file(),
            size=lambda job: job[1],
            words=words,
        )
        assert sorted(made) == [1, 3, 4]
    assert "10/10" in capsys.readouterr().err
    assert not begin(folder, {"pieces": 4})
    with pytest.raises(ValueError, match="pieces: expected 5, got 4"):
        begin(folder, {"pieces": 5})


def test_equal_requests_pass_whatever_their_sequences_are():
    require_equal("here", {"a": (1, 2), "b": None}, {"a": [1, 2], "b": None})


@pytest.mark.parametrize(
    ("found", "named"),
    [({"a": 2}, "a: expected 1, got 2"), ({}, "a: expected 1, got None"),
     ({"a": 1, "b": 3}, "b: expected None, got 3")],
)  # fmt: skip
def test_other_request_is_refused_with_what_differs(found, named):
    with pytest.raises(
        ValueError, match=rf"here: exists.*choose another name.*{named}"
    ):
        require_equal("here", {"a": 1}, found, "name")


def test_hidden_bar_says_nothing(capsys):
    with progress_bar("work", "event", 3, 1, show=False) as bar:
        bar.update(2)
    assert capsys.readouterr().err == ""
