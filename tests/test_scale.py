"""The scripts of docs/scale.md and docs/gpu-server.md parse, and the command line has what they call."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from cyclopts import CycloptsError

from layerprobe import cli
from layerprobe.embed.distributed.parts import Part, find_part
from layerprobe.embed.models.layers import layer_names, layer_width
from tests.run import ROOT

PAGES = {name: (ROOT / "docs" / name).read_text() for name in ("scale.md", "gpu-server.md")}
BLOCKS = [
    (name, block)
    for name, text in PAGES.items()
    for block in re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)
]
SCRIPTS = [block for _, block in BLOCKS if block.startswith("#!/bin/bash")]
PYTHON = [block for _, block in BLOCKS if re.match(r"# \w+\.py:", block)]
DOCUMENTS = re.findall(r"```yaml\n(.*?)```", PAGES["scale.md"], re.DOTALL)
CALL = re.compile(r"(?:layerprobe|python cli\.py|cli\.py) (?=[a-z])")


def _joined(block: str) -> str:
    """A block in which each command is one line: of YAML, folded scalars are joined."""
    return re.sub(r"(>-\n *)(.*)\n *--", r"\2 --", block.replace("\\\n", " "))


def commands() -> list[str]:
    """What follows `layerprobe` or `cli.py` in each line of a block, without what follows the command."""
    lines = [line for _, block in BLOCKS for line in _joined(block).splitlines()]
    calls = [CALL.split(line)[-1] for line in lines if CALL.search(line) and not line.startswith("# ")]
    return [re.split(r"&&|;|&$|\s#|['\"]$", call)[0].strip(" '\"") for call in calls]


def test_there_are_scripts_and_commands():
    assert len(SCRIPTS) >= 3
    assert len(PYTHON) == 1
    assert len(DOCUMENTS) == 2
    assert {command.split()[0] for command in commands()} >= {"embed", "classify"}


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_shell_script_parses(script):
    done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("script", PYTHON)
def test_a_python_script_parses(script):
    compile(script, "script", "exec")


@pytest.mark.parametrize("command", commands())
def test_the_command_line_has_every_option(command):
    words = shlex.split(command)
    try:
        cli.app.parse_args(words, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        raise AssertionError(f"{command}: {cli.usage_error(error)}") from error


def test_a_kubernetes_job_has_a_part_for_each_pod():
    job = yaml.safe_load(DOCUMENTS[0])
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    assert job["spec"]["completionMode"] == "Indexed"
    (container,) = job["spec"]["template"]["spec"]["containers"]
    volumes = {volume["name"] for volume in job["spec"]["template"]["spec"]["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes
    (script,) = container["args"]
    count = job["spec"]["completions"]
    for index in range(count):
        shown = subprocess.run(
            ["bash", "-c", f"printf '%s\\n' {script}"],
            env={"JOB_COMPLETION_INDEX": str(index)},
            capture_output=True,
            text=True,
        )
        words = shown.stdout.splitlines()[1:]
        cli.app.parse_args(words, exit_on_error=False, print_error=False)
        part = find_part(words[words.index("--part") + 1], {})
        assert part == Part(index=index, count=count)


def test_a_kubernetes_job_fits_the_schema_of_its_version():
    kubernetes = pytest.importorskip("kubernetes_validate")
    job, version = yaml.safe_load(DOCUMENTS[0]), kubernetes.latest_version()
    assert version.startswith(kubernetes.validate(job, version, strict=True))
    job["spec"]["template"]["spec"]["containers"][0]["arguments"] = []
    with pytest.raises(kubernetes.ValidationError, match="'arguments' was unexpected"):
        kubernetes.validate(job, version, strict=True)


def test_ray_accepts_the_file_of_a_cluster():
    """What `ray up` does with the file before it starts machines."""
    util = pytest.importorskip("ray.autoscaler._private.util", reason="the extra ray is not installed")
    config = util.prepare_config(yaml.safe_load(DOCUMENTS[1]))
    util.validate_config(config)
    assert config["worker_start_ray_commands"]
    del config["available_node_types"]["worker"]["node_config"]
    with pytest.raises(Exception, match="'node_config' is a required property"):
        util.validate_config(config)


@pytest.fixture
def slurm(tmp_path, monkeypatch) -> Path:
    """A folder with an `sbatch` that runs a job here at once, and a `layerprobe` that says what it sees."""
    programs = {
        "sbatch": '#!/bin/sh\ncp "$1" job.sh\nbash job.sh >job.log 2>&1 &\necho "Submitted batch job 7"\n',
        "scancel": "#!/bin/sh\n",
        "layerprobe": f"#!{sys.executable}\n"
        "import os, sys; from distributed import Client\n"
        "with Client(os.environ['DASK_SCHEDULER_ADDRESS']) as client:\n"
        "    workers = client.run(lambda: os.environ['LAYERPROBE_CACHE'])\n"
        "open('seen', 'w').write(f'{len(workers)} {set(workers.values())} {sys.argv[1:]}')\n",
    }
    for name, text in programs.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_dask_starts_its_workers_as_slurm_jobs_and_the_search_finds_them(slurm):
    pytest.importorskip("dask_jobqueue")
    (script,) = PYTHON
    smaller = {"4 jobs": "1", "jobs=4": "jobs=1", '"processes": 16': '"processes": 2', "(64)": "(2)"}
    for whole, part in smaller.items():
        script = script.replace(whole, part)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    job = (slurm / "job.sh").read_text()
    for line in ("#SBATCH --cpus-per-task=16", "#SBATCH --mem=60G", "#SBATCH -t 02:00:00", "--nworkers 2"):
        assert line in job
    (search,) = re.findall(r'search = "layerprobe (.*)"', script)
    assert (slurm / "seen").read_text() == f"2 {{'/data/features'}} {shlex.split(search)}"


def test_the_types_of_nodes_of_a_ray_cluster_exist():
    cluster = yaml.safe_load(DOCUMENTS[1])
    nodes = cluster["available_node_types"]
    assert cluster["head_node_type"] in nodes
    assert sum(node["max_workers"] for node in nodes.values()) == cluster["max_workers"]
    for command in cluster["setup_commands"]:
        assert subprocess.run(["bash", "-n"], input=command, text=True).returncode == 0


def test_the_cost_of_a_million_clips_is_what_the_architectures_say():
    """Products of linear layers and convolutions, at 200 TFLOP/s and 3 € an hour."""
    rows = re.findall(
        r"^\| (\S+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) GB \|$", PAGES["scale.md"], re.M
    )
    assert len(rows) == 5
    architectures = json.loads((ROOT / "embed" / "models" / "architectures.json").read_text())
    for name, *numbers in rows:
        config = architectures[name]
        nbytes = 2 * 2 * sum(layer_width(config, layer) for layer in layer_names(config))  # float16
        if config["model_type"] == "whisper":
            width, blocks, mels = config["d_model"], config["encoder_layers"], config["num_mel_bins"]
            front = 2 * (100 * 3 * mels * width + 50 * 3 * width * width)
        else:
            width, blocks = config["hidden_size"], config["num_hidden_layers"]
            front, channels, rate = 0.0, 1, 16_000.0
            for out, kernel, stride in zip(
                config["conv_dim"], config["conv_kernel"], config["conv_stride"], strict=True
            ):
                rate /= stride
                front, channels = front + 2 * rate * kernel * channels * out, out
        flops = 2 * 50 * blocks * 12 * width**2 + front
        hours = 5_000_000 * flops / 200e12 / 3600
        expected = (flops / 1e9, hours, 3 * hours, nbytes / 1e3)
        # As many digits as are printed.
        assert [float(number) for number in numbers] == pytest.approx(expected, rel=0.02, abs=0.005)
