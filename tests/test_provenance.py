from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest

import compgraph.provenance as provenance
from compgraph.errors import StoreError
from compgraph.provenance import Provenance, code_digest, file_digest, json_digest
from compgraph.sources import code_modules

FILES = {
    "__init__.py": '''
        """A package."""
        __version__ = "1"
        _LAZY = {"late": "toy.parts.late", "other": ("toy.parts.late", "late")}
        from toy.parts.direct import direct
    ''',
    "helper.py": '''
        """Helps."""
        def help():
            """Help."""
            return 1
    ''',
    "user.py": "from toy.helper import help\n",
    "relative.py": "from . import helper\n",
    "inside.py": "def f():\n    from .helper import help as h\n    return h()\n",
    "dotted.py": "import toy.helper\nimport os.path, json\nfrom numpy import array\n",
    "transitive.py": "from toy import user\n",
    "loner.py": "x = 1\n",
    "typed.py": """
        from typing import TYPE_CHECKING
        if TYPE_CHECKING:
            from toy.helper import help
    """,
    "ring_a.py": "from toy import ring_b\n",
    "ring_b.py": "import toy.ring_a\n",
    "errors.py": "from toy.helper import help\n",
    "complains.py": "from toy.errors import help\n",
    "through.py": "from toy import late, direct, __version__\n",
    "renamed.py": "from toy import other\n",
    "parts/__init__.py": "",
    "parts/late.py": "from ..helper import help\nlate = help\n",
    "parts/direct.py": "direct = 1\n",
    "bare/orphan.py": "from toy.parts import late\n",
    "vague.py": "from toy import nothing\n",
    "whole.py": "import toy\n",
    "absent.py": "import toy.absentee\n",
}
USERS = [
    "user",
    "relative",
    "inside",
    "dotted",
    "transitive",
    "through",
    "renamed",
    "parts.late",
    "bare.orphan",
]
OTHERS = ["loner", "typed", "ring_a", "complains", "parts.direct"]


@pytest.fixture
def toy(tmp_path):
    for name, text in FILES.items():
        path = tmp_path / "toy" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))
    return tmp_path / "toy"


def digests(toy: Path, names: list[str]) -> dict[str, str]:
    options = {"root": toy, "package": "toy", "exclude": ("toy.errors",)}
    return {name: code_digest([f"toy.{name}"], **options) for name in names}


def changed(toy: Path, file: str, old: str, new: str) -> set[str]:
    before = digests(toy, USERS + OTHERS)
    text = (toy / file).read_text()
    assert old in text
    (toy / file).write_text(text.replace(old, new))
    after = digests(toy, USERS + OTHERS)
    return {name for name in before if before[name] != after[name]}


def test_a_changed_helper_changes_its_users_only(toy):
    assert changed(toy, "helper.py", "return 1", "return 2") == set(USERS)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""Help."""', '"""Help well."""'),
        ('"""Help."""', ""),
        ('"""Helps."""', '"""Helps.\n\nMuch."""'),
        ("return 1", "return 1  # one"),
        ("def help", "\n\n\ndef help"),
        ("return 1", "return (1)"),
    ],
)
def test_words_and_layout_change_nothing(toy, old, new):
    assert changed(toy, "helper.py", old, new) == set()


def test_other_edits(toy):
    assert changed(toy, "ring_b.py", "import", "y = 1\nimport") == {"ring_a"}
    assert changed(toy, "errors.py", "from", "x = 2\nfrom") == set()
    assert changed(toy, "__init__.py", '"1"', '"2"') == set()
    assert changed(toy, "parts/late.py", "late = help", "late = 3") == {
        "through",
        "renamed",
        "parts.late",
        "bare.orphan",
    }


def test_modules_reached(toy):
    reached = code_modules(["toy.through", "toy.ring_a"], root=toy, package="toy", exclude=())
    names = "toy.through toy.parts.late toy.parts.direct toy.helper toy.ring_a toy.ring_b"
    assert set(reached) == set(names.split())


def test_the_digest_names_modules_and_order_does_not_matter(toy):
    options = {"root": toy, "package": "toy"}
    assert code_digest(["toy.user", "toy.loner"], **options) == code_digest(["toy.loner", "toy.user"], **options)
    (toy / "loner2.py").write_text(FILES["loner.py"])
    assert code_digest(["toy.loner"], **options) != code_digest(["toy.loner2"], **options)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("toy.vague", "imports nothing from toy, where its module cannot be traced"),
        ("toy.whole", "imports the package toy as a whole"),
        ("toy.absent", "toy.absent imports toy.absentee, which does not exist"),
        ("toy.none", "there is no module toy.none"),
        ("numpy", "there is no module numpy"),
    ],
)
def test_what_cannot_be_followed_is_an_error(toy, name, message):
    with pytest.raises(ValueError, match=message):
        code_digest([name], root=toy, package="toy")


def test_the_real_package():
    modules = code_modules(["compgraph.store"])
    assert {"compgraph.store", "compgraph.disk", "compgraph.provenance"} <= set(modules)
    assert not {"compgraph.errors", "compgraph.sources"} & set(modules)


def test_every_module_of_the_package_can_be_followed():
    root = Path(provenance.__file__).parent
    names = [p.relative_to(root.parent).with_suffix("").as_posix().replace("/", ".") for p in root.rglob("*.py")]
    reached = code_modules([name.removesuffix(".__init__") for name in names], exclude=())
    assert len(reached) == len([name for name in names if not name.endswith("__init__")])


def test_plain_data():
    data = {1: np.float32(0.5), "a": (np.int8(3), Path("x/y")), "n": float("nan"), "b": np.bool_(True)}
    assert provenance.plain(data) == {"1": 0.5, "a": [3, "x/y"], "n": "nan", "b": True}
    assert provenance.plain(np.arange(4).reshape(2, 2)) == [[0, 1], [2, 3]]
    with pytest.raises(TypeError, match="set cannot be kept"):
        provenance.plain({"a": {1, 2}})


def test_json_digest_ignores_the_order_of_keys():
    assert json_digest({"a": 1, "b": [1, 2]}) == json_digest({"b": (1, 2), "a": np.int64(1)})
    assert json_digest({"a": 1, "b": [1, 2]}) != json_digest({"a": 1, "b": [2, 1]})
    assert json_digest({}).startswith("sha256:")


def test_file_digest_covers_names_and_bytes(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder / "sub").mkdir(parents=True)
        (tmp_path / folder / "sub" / "x").write_text("1")
    assert file_digest(tmp_path / "a") == file_digest(tmp_path / "b")
    (tmp_path / "b" / "sub" / "x").rename(tmp_path / "b" / "sub" / "y")
    assert file_digest(tmp_path / "a") != file_digest(tmp_path / "b")
    assert file_digest(tmp_path / "a" / "sub" / "x") != file_digest(tmp_path / "b" / "sub" / "y")
    with pytest.raises(StoreError, match="does not exist"):
        file_digest(tmp_path / "c")


def test_provenance_round_trip():
    made = Provenance("eap", {"k": np.int64(2)}, seed=1, inputs={"model": "x"}, code="c")
    assert Provenance.from_dict(made.to_dict()).to_dict() == made.to_dict()
    assert made.digest == Provenance("eap", {"k": 2}, 1, {"model": "x"}, "c").digest
    with pytest.raises(ValueError, match="lacks seed"):
        Provenance.from_dict({k: v for k, v in made.to_dict().items() if k != "seed"})


def test_library_versions_without_imports():
    code = "import sys, compgraph.provenance as p; print(p.library_versions(), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.endswith("False\n"), done.stderr
    versions = provenance.library_versions()
    assert versions["numpy"] == np.__version__ and {"python", "compgraph", "torch"} <= versions.keys()


def test_graph_tool_version(tmp_path, monkeypatch):
    package = tmp_path / "graph_tool"
    (package / "include").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    spec = importlib.util.spec_from_file_location("graph_tool", package / "__init__.py")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    record = '{"name": "graph-tool", "version": "2.98"}'
    assert provenance.graph_tool_version() == "unknown"
    (tmp_path / "conda-meta").mkdir()
    (tmp_path / "conda-meta" / "graph-tool-2.98-h0.json").write_text(record)
    assert provenance.graph_tool_version() == "2.98"
    (package / "include" / "config.h").write_text('#define VERSION "0"\n#define PACKAGE_VERSION "2.45"\n')
    assert provenance.graph_tool_version() == "2.45"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert provenance.graph_tool_version() is None
