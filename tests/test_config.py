"""The configuration: which file, which keys, which targets, and what wins over what."""

from __future__ import annotations

import json
import os
import re
import tomllib
from pathlib import Path

import pytest

from gradscope import config
from gradscope.config.keys import KEYS, Value
from gradscope.errors import GradscopeError
from gradscope.records.options import CheckOptions, LoadOptions, Task
from tests.pages.reading import blocks

PAGE = (Path(__file__).parents[1] / "docs/configuration.md").read_text(encoding="utf-8")
EVERY_KEY = """
targets = ["a.py"]
fail-on = ["warning", "non-finite"]
select = ["vanishing-gradient", "non-finite"]
ignore = "zero-gradient"
batches = 4
seeds = 3
verify = true
steps = 50
after-steps = 10
histograms = true
through-time = true
inputs = true
what-if = "f16"
replicas = true
overfit-batch = true
truncate = 20
widths = [64, 128]
batch-size = 32
seed = 7
timeout = 60
data = ["train.npz", "/data/more.npz"]
x = "height, width"
y = ["label"]
loss = "mse"
params = "best.npz"
mesh = "data=4, model=2"
devices = 8
baseline = "known.json"
jobs = 2
lang = "ja"

[limits.vanishing-gradient]
ratio = 1e-4
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with three models in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    for name in ("a.py", "models/cnn.py", "models/rnn.py", "models/_layers.py", "models/readme.md"):
        (tmp_path / name).write_text("")
    return tmp_path


def section(heading: str) -> list[str]:
    return PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0].splitlines()


def written(text: str, name: str = "gradscope.toml") -> config.Config:
    Path(name).write_text(text)
    return config.read(name)


def names(text: str, *asked: str, **given: config.Value) -> list[str]:
    return [task.target for task in config.plan(written(text), given, asked).tasks]


def refused(text: str, *asked: str) -> GradscopeError:
    with pytest.raises(GradscopeError) as caught:
        config.plan(written(text), {}, asked)
    assert "gradscope.toml" in str(caught.value), "the error names the file"
    return caught.value


def test_every_key_reaches_its_option(folder: Path) -> None:
    plan = config.plan(written(EVERY_KEY), {})
    assert plan.tasks == (
        Task(
            target="a.py",
            path="a.py",
            loading=LoadOptions(
                batch_size=32,
                seed=7,
                timeout=60.0,
                data=("train.npz", "/data/more.npz"),
                x=("height", "width"),
                y=("label",),
                loss="mse",
                params="best.npz",
                mesh={"data": 4, "model": 2},
                devices=8,
            ),
            checking=CheckOptions(
                batches=4,
                seeds=3,
                select=("vanishing-gradient", "non-finite"),
                ignore=("zero-gradient",),
                limits={"vanishing-gradient": {"ratio": 1e-4}},
                verified=True,
                steps=50,
                after_steps=10,
                histograms=True,
                through_time=True,
                inputs=True,
                what_if="f16",
                replicas=True,
                overfit_batch=True,
                truncate=20,
                widths=(64, 128),
                baseline="known.json",
            ),
            fail_on=("warning", "non-finite"),
        ),
    )
    assert plan.jobs == 2
    assert {key.name for key in KEYS} < tomllib.loads(EVERY_KEY).keys(), "no key was left out above"


def test_nothing_given_is_the_default_of_the_options() -> None:
    (task,) = config.plan(None, {}, ["absent.py"]).tasks
    assert task == Task("absent.py", "absent.py")


PRECEDENCE = [
    # command line, target, file, what holds and whose it is
    (4, 3, 2, 4, "command line"),
    (None, 3, 2, 3, "target"),
    (None, None, 2, 2, "file"),
    (None, None, None, 1, "default"),
    (4, None, None, 4, "command line"),
    (None, 3, None, 3, "target"),
]


@pytest.mark.parametrize(("line", "target", "file", "value", "origin"), PRECEDENCE)
def test_the_nearest_word_wins(
    folder: Path, line: int | None, target: int | None, file: int | None, value: int, origin: str
) -> None:
    text = f"batches = {file}\n" if file else ""
    text += '[[target]]\npath = "a.py"\n' + (f"batches = {target}\n" if target else "")
    plan = config.plan(written(text), {"batches": line} if line else {})
    (planned,) = plan.targets
    assert planned.task.checking.batches == value
    assert [(s.value, s.origin) for s in planned.settings if s.name == "batches"] == [(value, origin)]


def test_limits_are_merged_one_by_one_and_lists_are_replaced(folder: Path) -> None:
    text = """
        ignore = ["non-finite"]
        data = "train.npz"
        [limits.vanishing-gradient]
        ratio = 1e-4
        depths = 9
        [[target]]
        path = "a.py"
        ignore = []
        data = []
        [target.limits.vanishing-gradient]
        ratio = 1e-6
    """
    (task,) = config.plan(written(text), {}).tasks
    assert task.checking.limits == {"vanishing-gradient": {"ratio": 1e-6, "depths": 9}}
    assert task.checking.ignore == ()
    assert task.loading.data == ()


def test_of_two_entries_for_a_target_the_later_wins(folder: Path) -> None:
    text = """
        targets = ["a.py", "models/*.py"]
        [[target]]
        path = "models/*.py"
        batches = 2
        seed = 5
        [[target]]
        path = "models/rnn.py"
        batches = 3
    """
    tasks = {task.target: task for task in config.plan(written(text), {}).tasks}
    assert {name: (t.checking.batches, t.loading.seed) for name, t in tasks.items()} == {
        "a.py": (1, 0),
        "models/cnn.py": (2, 5),
        "models/rnn.py": (3, 5),
    }


@pytest.mark.parametrize(
    ("listed", "found"),
    [
        ('"models/*.py"', ["models/cnn.py", "models/rnn.py"]),
        ('["**/*.py"]', ["a.py", "models/cnn.py", "models/rnn.py"]),
        ('["models/rnn.py", "models/*.py"]', ["models/rnn.py", "models/cnn.py"]),
        ('["models/*.py", "models/rnn.py"]', ["models/cnn.py", "models/rnn.py"]),
        ('["models/*.py:tiny"]', ["models/cnn.py:tiny", "models/rnn.py:tiny"]),
        ('["./a.py", "a.py:loss", "absent.py", "pkg.mod:loss", "pkg"]', None),
        ('["models/_layers.py"]', ["models/_layers.py"]),
    ],
)
def test_targets_are_files_names_modules_and_patterns(
    folder: Path, listed: str, found: list[str] | None
) -> None:
    expected = found or ["a.py", "a.py:loss", "absent.py", "pkg.mod:loss", "pkg"]
    assert names(f"targets = {listed}") == expected


def test_a_file_with_brackets_in_its_name_is_no_pattern(folder: Path) -> None:
    (folder / "m[1].py").write_text("")
    assert names('targets = ["m[1].py"]') == ["m[1].py"]


def test_an_entry_that_matches_no_target_is_a_target(folder: Path) -> None:
    text = 'targets = ["a.py"]\n[[target]]\npath = "models/rnn.py:big"\n[[target]]\npath = "a.py"'
    assert names(text) == ["a.py", "models/rnn.py:big"]
    assert names(text, "models/cnn.py") == ["models/cnn.py"]


def test_an_entry_for_a_file_is_for_every_name_in_it(folder: Path) -> None:
    text = (
        'targets = ["a.py:one", "a.py:two"]\n[[target]]\npath = "a.py"\nseed = 3\n'
        '[[target]]\npath = "a.py:two"\nseed = 4'
    )
    tasks = config.plan(written(text), {}).tasks
    assert [(task.target, task.loading.seed) for task in tasks] == [("a.py:one", 3), ("a.py:two", 4)]


def test_names_and_paths_do_not_depend_on_where_the_command_is_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "pyproject.toml").write_text(
        '[tool.gradscope]\ntargets = ["models/*.py", "pkg.mod"]\ndata = "train.npz"\n'
        '[[tool.gradscope.target]]\npath = "models/rnn.py"\nseed = 3\nparams = "/weights/best.npz"\n'
    )
    monkeypatch.chdir(folder / "models")
    found = config.nearest(os.getcwd())
    assert found is not None
    plan = config.plan(found, {})
    assert [(task.target, task.path) for task in plan.tasks] == [
        ("models/cnn.py", "cnn.py"),
        ("models/rnn.py", "rnn.py"),
        ("pkg.mod", "pkg.mod"),
    ]
    assert plan.tasks[1].loading == LoadOptions(seed=3, data=("../train.npz",), params="/weights/best.npz")
    assert plan.modules_from == str(folder)
    (asked,) = config.plan(found, {}, ["rnn.py"]).tasks
    assert asked == plan.tasks[1]


def test_the_nearest_file_is_the_only_one_that_is_read(folder: Path) -> None:
    (folder / "pyproject.toml").write_text("[tool.gradscope]\nseed = 1\nbatches = 2\n")
    assert config.nearest("models") == config.read("pyproject.toml")
    (folder / "models/pyproject.toml").write_text("[project]\nname = 'x'\n")
    assert config.nearest("models") == config.read("pyproject.toml"), "it does not speak to gradscope"
    (folder / "models/pyproject.toml").write_text("[project\n")
    assert config.nearest("models") == config.read("pyproject.toml"), "nor does a broken one"
    (folder / "models/gradscope.toml").write_text("seed = 5\n")
    found = config.nearest("models")
    assert found is not None
    assert found.values == {"seed": 5}


def test_both_files_in_one_folder_are_an_error_that_names_both(folder: Path) -> None:
    (folder / "pyproject.toml").write_text("[tool.gradscope]\n")
    (folder / "gradscope.toml").write_text("")
    with pytest.raises(GradscopeError) as caught:
        config.nearest(".")
    assert "gradscope.toml" in caught.value.what
    assert "pyproject.toml" in caught.value.what


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        (
            "pyproject.toml",
            "[tool.gradscope]\nseed = \n",
            "pyproject.toml:2 is not valid TOML: invalid value.",
        ),
        ("gradscope.toml", "seed = 1\nseed = 2\n", "gradscope.toml:2 is not valid TOML"),
        ("pyproject.toml", "[tool]\ngradscope = 3\n", "is 3, not a table"),
        ("pyproject.toml", "[project]\n", "pyproject.toml has no table [tool.gradscope]"),
        ("gradscope.toml", "[tool.gradscope]\nseed = 1\n", "Put them at the top level"),
        ("gradscope.toml", f"targets = {'[' * 2000}", "nested too deeply"),
        ("absent.toml", None, "absent.toml cannot be read: No such file or directory"),
    ],
)
def test_a_file_that_is_no_configuration_is_told(
    folder: Path, name: str, text: str | None, said: str
) -> None:
    if text is not None:
        Path(name).write_text(text)
    with pytest.raises(GradscopeError) as caught:
        config.read(name)
    assert said in str(caught.value)


def test_a_file_that_is_not_utf8_is_told(folder: Path) -> None:
    Path("gradscope.toml").write_bytes(b"loss = '\xff'")
    with pytest.raises(GradscopeError, match="not encoded as UTF-8"):
        config.nearest(".")


WRONG = [
    ("batchs = 4", "unknown-setting", "Did you mean `batches`?"),
    ("batch_size = 4", "unknown-setting", "Did you mean `batch-size`?"),
    ('fail_on = "error"', "unknown-setting", "Did you mean `fail-on`?"),
    ("zzzzzz = 4", "unknown-setting", "The settings are after-steps, baseline"),
    ('format = "json"', "unknown-setting", "on the command line only"),
    ('[[target]]\npath = "a.py"\njobs = 2', "unknown-setting", "a setting of the whole run"),
    ('[[target]]\npath = "a.py"\nbatchs = 2', "unknown-setting", '[[target]] "a.py"'),
    ('batches = "4"', "unusable-setting", '`batches` in gradscope.toml is "4".'),
    ("batches = true", "unusable-setting", "is true"),
    ("batches = 0", "unusable-setting", "at least 1"),
    ("batches = 2.0", "unusable-setting", "is 2.0"),
    ("seed = -1", "unusable-setting", "at least 0"),
    ("timeout = nan", "unusable-setting", "above 0"),
    ("timeout = -3", "unusable-setting", "above 0"),
    ('verify = "yes"', "unusable-setting", "true or false"),
    ("data = [1]", "unusable-setting", "is [1]"),
    ('params = ""', "unusable-setting", "path of a checkpoint"),
    ("loss = {}", "unusable-setting", "is a table"),
    ('mesh = "rows=4"', "bad-option", '"rows=4" is not an axis'),
    ('mesh = "data=2,data=2"', "bad-option", "each once"),
    ('mesh = "data=0"', "bad-option", '"data=0" is not an axis'),
    ('select = ["non-finit"]', "unknown-rule", "non-finite"),
    ('ignore = "zero_gradient"', "unknown-rule", "zero-gradient"),
    ('fail-on = ["eror"]', "unknown-policy", '"error"'),
    ("fail-on = []", "unknown-policy", "does not say what to fail on"),
    ('fail-on = ["never", "error"]', "unknown-policy", "stands alone"),
    ("[limits.vanishing-gradients]\nratio = 1", "unknown-rule", "'vanishing-gradient'"),
    ("[limits.vanishing-gradient]\nratios = 1", "unknown-limit", "Did you mean `ratio`?"),
    ("[limits.vanishing-gradient]\nratio = 0", "unusable-limit", "The default is"),
    ("[limits.vanishing-gradient]\nratio = inf", "unusable-limit", "The default is"),
    ('[limits.vanishing-gradient]\nratio = "1"', "unusable-limit", "without quotes"),
    ("[limits.vanishing-gradient]\nratio = true", "unusable-limit", "is true"),
    ("limits = 3", "unusable-setting", "[limits.vanishing-gradient]"),
    ("[limits]\nratio = 3", "unusable-setting", "one table per rule"),
    ("targets = []", "unusable-setting", "remove the key"),
    ("targets = [3]", "unusable-setting", "is [3]"),
    ('targets = ["a.py", "./a.py"]', "repeated-target", '"./a.py" is listed twice'),
    ('targets = ["nets/*.py"]', "unmatched-target", '"nets/*.py" matches no Python file'),
    ('targets = ["models/*.md"]', "unmatched-target", "matches no Python file"),
    ('targets = ["a\\u0000.py"]', "unusable-setting", "It must be a list of files"),
    ('params = "a\\u0000"', "unusable-setting", "path of a checkpoint"),
    ('[target]\npath = "a.py"', "unusable-setting", "double brackets"),
    ("[[target]]\nseed = 1", "unusable-setting", "`path` is missing"),
    ("[[target]]\npath = 1", "unusable-setting", "`path` is 1"),
    ('[[target]]\npath = "a.py"\n[[target]]\npath = "./a.py"', "repeated-target", "there twice"),
    ('[[target]]\npath = "nets/*.py"', "unmatched-target", '"nets/*.py" matches no Python file'),
]


@pytest.mark.parametrize(("text", "slug", "said"), WRONG, ids=[text for text, _, _ in WRONG])
def test_what_is_wrong_in_a_file_is_told_with_its_place(
    folder: Path, text: str, slug: str, said: str
) -> None:
    error = refused(text)
    assert error.slug == slug
    assert said in str(error)
    assert error.fix


def test_a_part_of_a_file_that_is_not_there_is_told_with_who_asked(folder: Path) -> None:
    with pytest.raises(GradscopeError, match='"--x" selects from a data file, but there is no --data'):
        config.plan(None, {"x": ("height",)}, ["a.py"])
    with pytest.raises(GradscopeError, match=r"`y` selects from a data file, but a\.py has no `data`"):
        config.plan(written('targets = ["a.py"]\ny = "label"'), {})
    (task,) = config.plan(written('data = "train.npz"'), {"x": ("height",)}, ["a.py"]).tasks
    assert task.loading == LoadOptions(data=("train.npz",), x=("height",))


def test_a_plan_as_text_is_toml_that_says_where_each_setting_comes_from(folder: Path) -> None:
    path = 'models/\\u001b]0;\\"rnn.py'
    plan = config.plan(written(EVERY_KEY.replace('["a.py"]', f'["{path}"]')), {"batches": 9})
    shown = config.as_text(plan)
    assert "\x1b" not in shown
    (table,) = tomllib.loads(shown)["target"]
    assert table["path"] == 'models/\x1b]0;"rnn.py'
    assert table["limits"] == {"vanishing-gradient": {"ratio": 1e-4}}
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert {"batches = 9 # command line", "batch-size = 32 # file", "jobs = 2 # file"} <= {*lines}
    assert "# not set: baseline, jobs" in config.as_text(config.plan(None, {}, ["a.py"]))
    never = config.as_text(config.plan(written('fail-on = "never"'), {}))
    assert tomllib.loads(never)["fail-on"] == "never"
    assert "no targets" in never


def test_a_plan_as_json_has_the_same(folder: Path) -> None:
    plan = config.plan(written(EVERY_KEY), {"batches": 9}, ["a.py", "models/rnn.py"])
    shown = json.loads(config.as_json(plan))
    assert shown["configuration"] == str(folder / "gradscope.toml")
    assert shown["settings"]["jobs"] == {"value": 2, "from": "file"}
    assert [target["target"] for target in shown["targets"]] == ["a.py", "models/rnn.py"]
    for target in shown["targets"]:
        assert target["settings"]["batches"] == {"value": 9, "from": "command line"}
        assert target["settings"]["data"] == {"value": ["train.npz", "/data/more.npz"], "from": "file"}
        assert target["settings"]["limits.vanishing-gradient.ratio"] == {"value": 1e-4, "from": "file"}


def test_the_example_of_the_page_is_read_as_the_page_says(folder: Path) -> None:
    (example,) = blocks("docs/configuration.md", "toml")
    found = written(example, "pyproject.toml")
    tasks = {task.target: task for task in config.plan(found, {}).tasks}
    assert list(tasks) == ["models/cnn.py", "models/rnn.py", "nets/tagger.py:small"]
    rnn, cnn = tasks["models/rnn.py"], tasks["models/cnn.py"]
    assert (rnn.loading.batch_size, cnn.loading.batch_size) == (8, None)
    assert (rnn.checking.batches, cnn.checking.batches) == (4, 4)
    assert rnn.checking.limits == {**cnn.checking.limits, "exploding-through-time": {"ratio": 1e4}}


def test_the_page_has_every_key_with_its_default_and_its_reach() -> None:
    rows = [line.split("|")[1:-1] for line in section("Keys") if line[:3] == "| `"]
    told = {name: (row[2].strip(), row[3].strip()) for row in rows for name in re.findall(r"`(.+?)`", row[0])}
    assert told.keys() - {key.name for key in KEYS} == {"targets", "limits.RULE", "target"}
    for key in KEYS:
        plain = list(key.default) if isinstance(key.default, tuple) else key.default
        default = "" if plain is None else f"`{json.dumps(plain)}`"
        assert told[key.name] == (default, "yes" if key.per_target else "no")


def test_the_page_has_the_precedence_that_is_tested() -> None:
    rows = [line.split("|")[2:-1] for line in section("What wins") if line[:1] == "|"]
    told = [tuple(int(n[0]) if (n := re.findall(r"\d", cell)) else None for cell in row) for row in rows[2:]]
    assert told == [row[:4] for row in PRECEDENCE[:4]]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"fail-on": ("error", "wrong-gradient")}, "--verify"),
        ({"fail-on": ("changed-profile",)}, "--baseline"),
        ({"fail-on": ("decayed-norm",), "steps": 0}, "--steps 0"),
        ({"fail-on": ("loss-spike",)}, "gradscope monitor"),
        ({"fail-on": ("memory-over-limit",)}, "gradscope memory"),
        ({"fail-on": ("cost-over-limit",)}, "gradscope cost"),
        ({"fail-on": ("unstable-learning-rate",)}, "gradscope curvature"),
        ({"fail-on": ("width-dependent-updates",)}, "--widths"),
        ({"fail-on": ("non-finite",), "ignore": ("non-finite",)}, "is ignored"),
        ({"fail-on": ("non-finite",), "select": ("zero-gradient",)}, "is not selected"),
    ],
)
def test_a_gate_that_could_never_fail_is_an_error(given: dict[str, Value], said: str) -> None:
    with pytest.raises(GradscopeError, match="could never fail for model") as caught:
        config.plan(None, given, ["model.py"])
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "given",
    [
        {"fail-on": ("error",), "select": ("zero-gradient",)},
        {"fail-on": ("wrong-gradient",), "verify": True},
        {"fail-on": ("decayed-norm",)},
        {"fail-on": ("changed-profile",), "baseline": "baseline.json"},
        {"fail-on": ("non-finite",), "select": ("non-finite",)},
        {"fail-on": ()},
    ],
)
def test_a_gate_that_can_fail_is_planned(given: dict[str, Value]) -> None:
    assert config.plan(None, given, ["model.py"]).tasks[0].fail_on == given["fail-on"]
