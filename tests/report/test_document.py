import base64
import html.parser
import json
import os
import re
import subprocess

import jax
import numpy as np
import pytest

from jaxphys.report import Picture, Report, Table, environment, figures, git_revision


class _Page(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


def _picture(name="curve"):
    with figures.style():
        figure, axes = figures.canvas(size=(4, 3))
        axes[0, 0].plot([1, 2])
    return Picture(name, "A curve & <its> caption.", figure)


def _report():
    report = Report(
        "Run <1>",
        "of a model",
        command="python -m experiments.x --a=1",
        flags="--a=1\n--source=http://example.org/map",
        timings={"data": 1.0, "train": 3.0},
        weights={
            "weights": "best",
            "weights_step": 70,
            "weights_phase": "late",
            "n": 1,
        },
    )
    report.add_highlight("mean error", 0.0172, "mm")
    report.add_numbers({"loss": np.float32(0.5), "bad": np.array([1.0, np.nan])})
    report.add_section(
        "Results",
        "First words\ngo on.\n\nMore.\n\n- one\n- two",
        figures=[_picture(), Picture("none", "Empty.", reason="No events.")],
        tables=[Table("Errors.", ["m", "e"], [("a", 0.5), ("b", float("nan"))])],
    )
    report.add_section("Rest", tables=[Table("T.", ["a"], [], empty="No rows.")])
    return report


@pytest.fixture
def written(tmp_path):
    content = _report().write(tmp_path)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    return tmp_path, content, text, _Page(text)


def test_each_image_is_embedded_and_equals_its_file(written):
    folder, _, _, page = written
    (image,) = page.all("img")
    kind, data = image["src"].split(",")
    assert kind == "data:image/png;base64"
    saved = (folder / "figures" / "curve.png").read_bytes()
    assert base64.b64decode(data) == saved
    assert saved.startswith(b"\x89PNG")
    assert image["alt"] == "A curve & <its> caption."


def test_the_page_loads_nothing_from_outside(written):
    _, _, text, page = written
    for _, attrs in page.tags:
        for key in ("src", "href", "data", "action", "srcset"):
            assert attrs.get(key, "#").startswith(("#", "data:"))
    assert not page.all("script")
    assert not page.all("link")
    assert "@import" not in text
    assert "url(" not in text


def test_contents_lead_to_each_section(written):
    _, _, _, page = written
    targets = {attrs["id"] for attrs in page.all("section")}
    links = {attrs["href"].removeprefix("#") for attrs in page.all("a")}
    assert links == targets == {"results", "rest", "how-this-run-was-made"}


def test_missing_figures_and_empty_tables_are_sentences(written):
    _, _, _, page = written
    assert "No events." in page.text
    assert "No rows." in page.text
    assert len(page.all("img")) == 1


def test_text_is_escaped_and_keeps_paragraphs_and_lists(written):
    _, _, text, page = written
    assert "Run &lt;1&gt;" in text
    assert "First words go on." in page.text
    assert re.search(r"<li>one</li>\s*<li>two</li>", text)


def test_the_page_says_which_weights_it_is_about(written):
    _, content, _, page = written
    assert "The best weights of the run: of step 70, phase late." in page.text
    assert content["weights"] == {"which": "best", "step": 70, "phase": "late"}
    assert Report("No run").weights == {}


def test_no_value_is_shown_as_nan(written):
    _, _, _, page = written
    assert not re.search(r"\bnan\b", page.text, re.IGNORECASE)
    assert "– no value" in page.text


def test_numbers_stand_to_the_right_with_their_heading(written):
    _, _, text, _ = written
    assert re.search(r'<th class="num">e</th>', text)
    assert re.search(r'<td class="num">0.500</td>', text)


def test_json_is_strict_and_explains_what_was_not_finite(written):
    folder, content, _, _ = written
    saved = json.loads((folder / "report.json").read_text(encoding="utf-8"),
                       parse_constant=lambda c: pytest.fail(c))  # fmt: skip
    assert saved == content
    assert saved["numbers"] == {"loss": 0.5, "bad": [1.0, None]}
    assert saved["not_finite"]["numbers/bad/1"] == "nan"
    (section, _) = saved["sections"]
    assert section["tables"][0]["rows"][0] == {"m": "a", "e": 0.5}
    assert section["figures"][0]["file"] == "figures/curve.png"
    assert section["figures"][1]["reason"] == "No events."
    assert saved["highlights"] == {"mean error [mm]": 0.0172}


def test_command_flags_timings_and_surroundings_are_on_the_page(written):
    _, content, _, page = written
    for text in ("--a=1", "http://example.org/map", "train", "75.0", jax.__version__):
        assert text in page.text
    assert content["timings_s"] == {"data": 1.0, "train": 3.0}
    for name in ("jax", "flax", "optax", "numpy"):
        assert re.match(r"\d+\.", content["environment"]["packages"][name])


def test_a_report_without_anything_is_still_a_page(tmp_path):
    Report("Empty").write(tmp_path)
    page = _Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "The command line is not known." in page.text
    assert "No stage of this run was timed." in page.text
    assert not page.all("img")


def test_environment_names_the_hardware():
    found = environment()
    assert len(found["devices"]) == jax.device_count()
    assert 1 <= found["usable_cores"] <= os.cpu_count()
    assert found["cpu"]


def test_names_that_are_there_twice_are_refused():
    report = _report()
    with pytest.raises(ValueError, match="'results' is there twice"):
        report.add_section("results")
    with pytest.raises(ValueError, match="new picture name"):
        report.add_section("Other", figures=[_picture()])
    with pytest.raises(ValueError, match="new picture name"):
        report.add_section("Other", figures=[_picture("../up")])


def test_an_object_that_is_no_number_is_refused_with_its_place(tmp_path):
    report = Report("r")
    report.add_numbers({"a": {"b": object()}})
    with pytest.raises(ValueError, match="numbers/a/b"):
        report.write(tmp_path)


def test_revision_is_that_of_tracked_files_only(tmp_path):
    assert git_revision(tmp_path / "nowhere") == ""
    assert git_revision(tmp_path) == ""
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]

    def git(*arguments):
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        subprocess.run(command, check=True, capture_output=True)

    git("init")
    (tmp_path / "a.txt").write_text("a")
    assert git_revision(tmp_path) == ""
    git("add", "a.txt")
    git("commit", "-m", "first", "--no-gpg-sign")
    revision = git_revision(tmp_path)
    assert re.fullmatch(r"[0-9a-f]{7,}", revision)
    (tmp_path / "a.txt").write_text("b")
    assert git_revision(tmp_path) == revision + "-dirty"
