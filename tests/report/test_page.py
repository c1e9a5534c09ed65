import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest
import torch
from made_up import bounded, estimated, exact, missing, one_of_each

import jacprobe as jp
from jacprobe.errors import ArgumentError, DtypeError, NonFiniteError, OutputError
from jacprobe.report import Section, report_page, write_report
from jacprobe.report.layertable import layer_table
from jacprobe.results import SpectrumSet

MARKUP = "<script>alert('x')</script>"


class Page(HTMLParser):
    """Tables as rows of (text, key) by the label of their region, tags with their attributes, and all text."""

    def __init__(self, text):
        super().__init__()
        self.source, self.tags, self.tables, self.cell, self.words = text, [], {}, None, []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append((tag, attributes))
        if attributes.get("role") == "region":
            self.rows = self.tables.setdefault(attributes["aria-label"], [])
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.cell = ["", attributes.get("data-key")]
            self.rows[-1].append(self.cell)

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.cell = None

    def handle_data(self, data):
        self.words.append(data)
        if self.cell is not None:
            self.cell[0] += data

    def attributes(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def pictures(self):
        uris = [a.get("src") or a.get("srcset") for tag in ("img", "source") for a in self.attributes(tag)]
        return [(uri.partition(";")[0], base64.b64decode(uri.partition(",")[2])) for uri in uris]


@pytest.fixture(scope="module")
def net():
    net = jp.initialize(jp.build("mlp-3-tanh", input_shape=(1, 4, 4), num_classes=10), "orthogonal", seed=0)
    return jp.prune(net, "magnitude", sparsity=0.5).apply(net)


@pytest.fixture(scope="module")
def section(net):
    images = torch.randn(3, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    scores = jp.scores(net, "magnitude")
    return Section(jp.spectra(net, images), scores, "magnitude score", jp.mask_report(net, inputs=images))


@pytest.fixture(scope="module")
def page(section):
    return Page(report_page({"net": section}, title="A title", facts={"command": "jacprobe report net.pt"}))


def test_the_layer_table_has_the_texts_and_the_numbers_of_the_summary(page, section):
    heads, *rows = page.tables["Layers of net"]
    assert [text for text, _ in heads] == ["#", "segment", "label", "shape", "mean", "std", "min", "max", "cond",
                                           "within ±0.1", "zeros"]
    texts = section.result.table()
    for row, number, text, spectrum in zip(rows, section.result.summary().itertuples(), texts.itertuples(),
                                           section.result, strict=True):
        assert [cell for cell, _ in row[3:9]] == [text.shape, *text[4:9]]
        assert [float(key) for _, key in row[4:9]] == pytest.approx(
            [number.mean, number.std, number.min, number.max, number.cond], rel=1e-12)
        assert float(row[9][1]) == number.ldi
        assert [cell for cell, _ in row[1:3]] == [number.segment, f"exact, floor {spectrum.floor:.1e}"]


def test_every_number_has_its_label_with_what_it_rests_on():
    labels = {row[1].text: row[2].text for row in layer_table(one_of_each()).rows}
    assert labels["fc2"] == "exact, relative floor 1.0e-09"
    assert re.fullmatch(r"estimated, k = \d+ steps, n_v = \d+ probes, seed 7", labels["conv2"])
    assert labels["conv3"] == "bounded"
    assert labels["conv4"] == "bounded, the largest 2 of 9, with probability 99 %"
    assert labels["conv5"] == "estimated, n_v = 10 probes, seed 3"
    assert labels["gone"] == "none: never called in the forward pass"


def test_an_interval_sorts_by_its_middle_an_infinite_number_last_and_an_unknown_one_not_at_all():
    table = layer_table(one_of_each())
    column = [column.heading for column in table.columns].index
    keys = {row[1].text: [cell.key for cell in row] for row in table.rows}
    assert float(keys["conv3"][column("max")]) == pytest.approx(1.75)
    assert keys["fc1"][column("cond")] == "Infinity"
    assert keys["gone"][column("mean")] == ""


def test_the_weights_have_their_counts(page, section):
    heads, *rows, foot = page.tables["Sparsity of net"]
    column = [text for text, _ in heads].index
    for row, number in zip(rows, section.mask_report.table.itertuples(), strict=True):
        assert row[1][0] == number.parameter
        assert [int(row[column(name)][1]) for name in ("weights", "kept", "effective", "dead inputs", "MACs")] == [
            number.total, number.kept, number.effective, number.dead_inputs, number.sparse_macs]
        assert float(row[column("sparsity")][1]) == pytest.approx(1 - number.density)
    report = section.mask_report
    assert foot[column("kept")][0] == f"{report.num_kept:,}"
    assert foot[column("effective sparsity")][0] == f"{100 * report.effective_sparsity:.2f} %"


def test_the_pictures_are_all_there_and_need_no_font(page, section):
    kinds = [kind for kind, _ in page.pictures()]
    num_masks = len(section.mask_report.masks)
    assert kinds.count("data:image/png") == num_masks
    assert kinds.count("data:image/svg+xml") == 2 * 3  # layers, histograms and scores, wide and narrow
    for kind, picture in page.pictures():
        if "svg" in kind:
            assert b"<text" not in picture
            assert b"font-family" not in picture
        else:
            assert picture.startswith(b"\x89PNG")
    assert all(attributes["alt"] for attributes in page.attributes("img"))


def test_the_page_is_whole_in_itself(page):
    assert page.source.startswith("<!doctype html>")
    (policy,) = [a["content"] for a in page.attributes("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    for tag, name in (("style", "style-src"), ("script", "script-src")):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page.source, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{name} 'sha256-{digest}'" in policy
    addresses = [value for _, a in page.tags for key, value in a.items() if key in ("src", "srcset", "href")]
    assert addresses
    assert all(value.startswith(("data:", "#")) for value in addresses)
    assert not [a for _, a in page.tags for key in a if key.startswith("on") or key == "style"]
    assert "url(" not in page.source
    assert "@import" not in page.source


def test_the_same_values_make_the_same_page(section):
    plain = Section(section.result.select("end_to_end"))
    assert report_page({"net": plain}) == report_page({"net": plain})


def test_the_provenance_names_hashes_versions_and_the_command():
    model, provenance = {"file": "net.pt", "sha256": "ab12"}, {"seed": 3, "split": None}
    result = SpectrumSet((missing("fc", "layer"),), 0.1, model, provenance)
    page = Page(report_page({"net": result}, facts={"command": "jacprobe report net.pt"}))
    assert "Not shown: no scores were given." in page.text
    for words in ("sha256 ab12", "file net.pt", "seed 3", "epsilon 0.1", f"software.torch {torch.__version__}",
                  "command jacprobe report net.pt"):
        assert words in page.text
    assert "split" not in page.text


@pytest.mark.parametrize("where", ["model", "title", "segment", "fact", "parameter", "reason"])
def test_markup_in_names_is_escaped(where, section):
    name = MARKUP if where == "model" else "net"
    segment = MARKUP if where == "segment" else "fc"
    result = SpectrumSet((missing(segment, "layer"),), 0.1, {"file": MARKUP} if where == "fact" else {})
    scores = {MARKUP: torch.ones(1, 2)} if where == "parameter" else None
    page = Page(report_page({name: Section(result, scores, reasons={"masks": MARKUP} if where == "reason" else {})},
                            title=MARKUP if where == "title" else "title"))
    assert MARKUP in page.text
    assert MARKUP not in page.source
    assert len(page.attributes("script")) == 1


def test_several_models_have_a_comparison_first(monkeypatch):
    monkeypatch.setattr("jacprobe.report.page.spectra_pictures", lambda section: [])  # seen elsewhere, and slow
    dense = SpectrumSet((exact("fc", [[1.0, 1.0, 1.0]]),))
    pruned = SpectrumSet((exact("fc", [[0.75, 0.5, 0.0]], zeros=1),))
    page = Page(report_page({"dense": dense, "pruned": pruned}))
    groups, heads, first = page.tables["Comparison of the models"]
    assert [text for text, _ in groups] == ["", "dense", "pruned"]
    column = len(heads) - [text for text, _ in heads][::-1].index("Δ mean") - 1
    assert float(first[column][1]) == pytest.approx(1.25 / 3 - 1)
    assert [first[i][0] for i, (text, _) in enumerate(heads) if text == "LDI"] == ["yes", "no"]
    assert [a["href"] for a in page.attributes("a")] == ["#comparison", "#model-1", "#model-2", "#provenance"]
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids)) == 4
    assert "All values are exact" in page.text


@pytest.mark.parametrize("result", {
    "many layers": SpectrumSet(tuple(exact(f"conv{i}") for i in range(25))),
    "all values zero": SpectrumSet((exact("fc", [[0.0, 0.0]], zeros=2),)),
    "only bounds": SpectrumSet((bounded(),)),
    "only end to end": SpectrumSet((exact("end_to_end", kind="end_to_end"),)),
    "one estimated value": SpectrumSet((estimated("fc", [[[1.0]]], [[[1]]]),)),
    "every label": SpectrumSet(tuple(s for s in one_of_each() if s.segment in ("conv1", "conv4", "conv5", "gone"))),
}.items(), ids=lambda item: item[0])
def test_every_kind_of_result_has_a_page(result):
    page = Page(report_page({"net": result[1]}))
    assert len(page.tables["Layers of net"]) == len(result[1]) + 1
    assert len(page.attributes("source")) in ({0} if len(result[1]) > 12 else {0, 1, 2})


@pytest.mark.parametrize("names", [["dense"], ["dense", "pruned"]], ids=["one model", "two models"])
def test_one_epsilon_judges_the_whole_page(names, monkeypatch):
    monkeypatch.setattr("jacprobe.report.page.spectra_pictures", lambda section: [])  # seen elsewhere, and slow
    page = Page(report_page({name: SpectrumSet((exact("fc", [[1.4, 0.8]]),)) for name in names}, epsilon=0.5))
    assert "within 0.5 of 1: yes, in all 1 layers." in page.text
    assert "epsilon 0.5" in page.text
    assert "within 0.1" not in page.text
    assert "within ±0.1" not in page.text
    with pytest.raises(ArgumentError, match="`epsilon` must be a positive number; got -1"):
        report_page({name: one_of_each() for name in names}, epsilon=-1)


def test_a_name_that_is_no_text_can_be_read_on_the_page(tmp_path):
    path = write_report({"net\udcff": SpectrumSet((missing("fc", "layer"),))}, tmp_path / "report.html")
    assert r"net\udcff" in path.read_text(encoding="utf-8")


def test_a_page_is_written_whole_or_not_at_all(tmp_path):
    result = SpectrumSet((missing("fc", "layer"),))
    path = write_report({"net": result}, tmp_path / "report.html")
    assert path.read_text(encoding="utf-8") == report_page({"net": result})
    with pytest.raises(OutputError, match="must not exist yet"):
        write_report({"net": result}, path)
    write_report({"other": result}, path, overwrite=True)
    assert "other" in path.read_text()
    with pytest.raises(ArgumentError, match="`path` must end in .html or .htm; got 'report.txt'"):
        write_report({"net": result}, "report.txt")
    broken = SpectrumSet((exact("fc", [[float("nan")] * 2]),))
    with pytest.raises(NonFiniteError):
        write_report({"net": broken}, tmp_path / "broken.html")
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


@pytest.mark.parametrize(("sections", "error", "message"), {
    "no mapping": (one_of_each(), DtypeError, "`sections` must map names to Sections or SpectrumSets; got SpectrumSet"),
    "no model": ({}, ArgumentError, "`sections` must hold at least one model; got none"),
    "no spectra": ({"net": 3}, DtypeError, "got int for 'net'"),
    "a number as name": ({3: one_of_each()}, DtypeError, "for 3"),
    "masks for their report": ({"net": Section(one_of_each(), mask_report=jp.Masks({"w": torch.ones(1).bool()}))},
                               DtypeError, "`mask_report` must be what jacprobe.mask_report returns; got Masks"),
    "an empty set": ({"net": SpectrumSet(())}, ArgumentError, "got an empty set for 'net'"),
    "eleven": ({str(i): one_of_each() for i in range(11)}, ArgumentError, "at most 10 models; got 11"),
    "strangers": ({"a": SpectrumSet((exact("a"),)), "b": SpectrumSet((exact("b"),))}, ArgumentError,
                  "must have layers of the same name"),
}.values(), ids=lambda value: "" if not isinstance(value, str) else value[:20])
def test_wrong_arguments_are_refused(sections, error, message):
    with pytest.raises(error, match=re.escape(message)):
        report_page(sections)
