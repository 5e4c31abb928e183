"""A page from results: a graph's manifest, and the manifests of what is known about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compgraph import store
from compgraph.attribution.scores import attributed_part, scores_by_item
from compgraph.data.buffers import ActivationBuffer, open_buffer
from compgraph.data.images import ImagePairs, is_image_folder
from compgraph.data.prompts import PromptPairs
from compgraph.errors import DataError, StoreError
from compgraph.explorer.examples import Examples, top_examples
from compgraph.explorer.views import Curve, Grouping, Page, Texts, View
from compgraph.graph import ComputationalGraph
from compgraph.partition import DEAD, Partition
from compgraph.report.places import Place, place_of

GRAPH_STAGES = ("effective", "functional", "structural")
READERS = ("evaluation", "sbm", "communities")
FEW_NODES, SOME_NODES = 300, 1500
"""Up to so many nodes get five examples each, and three; beyond, one."""


@dataclass(frozen=True)
class Known:
    """A result and where it lies."""

    place: Place
    result: store.Result

    @property
    def graph(self) -> str:
        """`stage.entry` of a graph, as the results that read it name it."""
        return f"{self.place.stage}.{self.place.entry}"


@dataclass(frozen=True)
class Gathered:
    """A page, and the digests of the results that it was made from, by their names."""

    page: Page
    digests: Mapping[str, str]


def root_of(manifest: Path) -> Path:
    """The results folder that the manifest of a graph lies in.

    Raises
    ------
    DataError
        If it does not lie where graphs lie.
    """
    folder = Path(manifest).absolute().parent
    for checkpoint in folder.parents[:2]:
        if folder.name in GRAPH_STAGES and (checkpoint / "model.json").is_file():
            return checkpoint.parents[1]
    raise DataError(
        f"{manifest} does not lie in a results folder (<results>/<model>/<checkpoint>/[<dataset>/]<stage>/<name>.json);"
        " name that folder by --results, and what to show beside the graph"
    )


def companions(manifest: Path) -> list[Path]:
    """Manifests that tell more about a graph, from the results folder around it.

    Its curves, blocks and communities; the other graphs of the model, of any kind and checkpoint; regions, recorded
    activations and attributions of its checkpoint and dataset.
    """
    root = root_of(manifest)
    place = place_of(Path(manifest).absolute(), root)
    model = root / place.model
    here = model / place.checkpoint / place.dataset
    found = [model / "datasets" / f"{place.dataset}.json", model / place.checkpoint / "model.json"]
    found += [here / "activations.json", *sorted((here / "attributions").glob("*.json"))]
    found += sorted((here / "rois").glob("*.json"))
    for checkpoint in sorted(path for path in model.iterdir() if (path / "model.json").is_file()):
        for folder in dict.fromkeys((checkpoint, checkpoint / place.dataset)):
            for stage in (*GRAPH_STAGES, *READERS):
                found += sorted((folder / stage).glob("*.json"))
    return [path for path in dict.fromkeys(found) if path.is_file() and path != Path(manifest).absolute()]


def gather(
    manifest: Path, others: Iterable[Path], root: Path, open_tokenizer: Callable[[store.Result], Any]
) -> Gathered:
    """Read a graph and what is known about it.

    Parameters
    ----------
    manifest
        Of the graph that the page is about.
    others
        Manifests of other graphs and of results of any of the graphs; what does not fit is left out, and a note says
        so where a user could miss it.
    root
        The results folder.
    open_tokenizer
        Gives the tokenizer of a model's result; its `decode` turns tokens into text.

    Raises
    ------
    StoreError
        If a result is torn, or the first is not a graph.
    """
    known = [_known(path, root) for path in others]
    gathering = _Gathering(_known(manifest, root), known, open_tokenizer)
    return Gathered(gathering.page(), gathering.digests())


def _known(path: Path, root: Path) -> Known:
    return Known(place_of(Path(path).absolute(), Path(root).absolute()), store.open(path, lazy=True))


class _Gathering:
    """Reads each thing once."""

    def __init__(self, main: Known, others: Sequence[Known], open_tokenizer: Callable[[store.Result], Any]) -> None:
        if main.result.kind != "graph":
            raise StoreError(f"{main.result.manifest_path} holds a {main.result.kind}; a page is about a graph")
        self.main, self.others, self._open_tokenizer = main, others, open_tokenizer
        self.graph = ComputationalGraph.load(main.result.path)

    def page(self) -> Page:
        place = self.main.place
        texts, notes = self._texts()
        return Page(
            title=", ".join(part for part in (place.about, f"{place.stage} {place.entry}") if part),
            views=[*self._views()],
            groupings=[*self._blocks(), *self._regions()],
            task_share=self._task_share(),
            examples=list(self._examples()) if self._pairs is not None else [],
            texts=texts,
            notes=notes,
        )

    def digests(self) -> dict[str, str]:
        """Digests of everything that was given."""
        return {one.place.name: one.result.digest for one in (self.main, *self.others)}

    def _of_kind(self, *kinds: str) -> Iterator[Known]:
        return (one for one in self.others if one.result.kind in kinds)

    def _same_place(self, one: Known) -> bool:
        mine, other = self.main.place, one.place
        return (other.model, other.checkpoint) == (mine.model, mine.checkpoint) and other.dataset in ("", mine.dataset)

    def _views(self) -> Iterator[View]:
        yield self._view(self.main, self.graph)
        for one in self._of_kind("graph"):
            if (one.place.name, one.place.model) == (self.main.place.name, self.main.place.model):
                continue
            graph = ComputationalGraph.load(one.result.path)
            if _same_nodes(self.graph, graph):
                yield self._view(one, graph)

    def _view(self, one: Known, graph: ComputationalGraph) -> View:
        dataset = one.place.dataset if one.place.dataset not in ("", self.main.place.dataset) else ""
        method = " ".join(part for part in (one.place.entry, dataset) if part)
        return View(graph, method, one.place.checkpoint, tuple(self._curves(one)), one.result.digest)

    def _curves(self, graph: Known) -> Iterator[Curve]:
        """Edge ablation from zero-free baselines first, since it is what the slider's circuits mean."""
        tables = [one for one in self._of_kind("faithfulness") if self._reads(one, graph)]
        for one in sorted(tables, key=lambda one: (one.result.summary.get("ablation") != "edge", one.place.name)):
            summary = one.result.summary
            name = f"{summary.get('ablation', '')} ablation, baseline {summary.get('baseline', '')} ({one.place.runs})"
            yield Curve(name.strip(), store.read_table(one.result.path))

    def _reads(self, reader: Known, graph: Known) -> bool:
        where = (reader.place.model, reader.place.checkpoint, reader.place.dataset)
        return reader.place.graph == graph.graph and where == (
            graph.place.model,
            graph.place.checkpoint,
            graph.place.dataset,
        )

    def _blocks(self) -> Iterator[Grouping]:
        for one in self._of_kind("sbm", "communities"):
            view = next((known for known in (self.main, *self._of_kind("graph")) if self._reads(one, known)), None)
            if view is None or not self._same_place(one):
                continue
            whose = "" if view is self.main else f" of {view.place.stage} {view.place.entry}"
            if one.result.kind == "communities":
                table = store.read_table(one.result.path)
                yield Grouping(f"communities, {one.place.entry}{whose}", _groups(table, "community"))
                continue
            table = store.read_table(one.result.file("nodes.parquet"))
            for level in (name for name in table.columns if name.startswith("level")):
                number = level.removeprefix("level")
                yield Grouping(f"blocks, {one.place.entry}, level {number}{whose}", _groups(table, level))

    def _regions(self) -> Iterator[Grouping]:
        """The region that holds most of a node's units, where regions and nodes are of one network."""
        part = self.graph.partition
        for one in self._of_kind("partition"):
            if part is None or not self._same_place(one):
                continue
            groups = _largest_overlap(part, Partition.load(one.result.path))
            if groups:
                yield Grouping(f"regions, {one.place.entry}", groups)

    @cached_property
    def _buffers(self) -> list[ActivationBuffer]:
        found = [one for one in self._of_kind("activations", "attributions") if self._same_place(one)]
        return [open_buffer(one.result.manifest_path) for one in found]

    def _examples(self) -> Iterator[Examples]:
        part = self.graph.partition
        n_nodes = self.graph.n_nodes
        count = 5 if n_nodes <= FEW_NODES else 3 if n_nodes <= SOME_NODES else 1
        for buffer in self._buffers:
            if part is not None and _fits(part, buffer):
                yield top_examples(buffer, part, count=count)

    def _task_share(self) -> dict[str, dict[str, float]]:
        """Share of each task in the node's absolute attribution, tasks weighing the same."""
        part = self.graph.partition
        for buffer in self._buffers:
            if buffer.quantity == "attribution" and part is not None and _fits(part, buffer):
                return _shares(buffer, part)
        return {}

    @cached_property
    def _pairs(self) -> PromptPairs | ImagePairs | None:
        for one in self._of_kind("pairs"):
            if one.place.dataset == self.main.place.dataset:
                return ImagePairs.load(one.result.path) if is_image_folder(one.result.path) else PromptPairs.load(
                    one.result.path
                )  # fmt: skip
        return None

    def _texts(self) -> tuple[Texts, list[str]]:
        pairs = self._pairs
        if pairs is None:
            return Texts(), []
        task = {item: str(name) for item, name in enumerate(pairs.task)}
        if isinstance(pairs, ImagePairs):
            return Texts(task, images={item: _pixels(image) for item, image in enumerate(pairs.clean)}), []
        model = next((one.result for one in self._of_kind("model") if self._same_place(one)), None)
        if model is None:
            return Texts(task), ["The model was not given, so examples are shown without their text."]
        tokenizer = self._open_tokenizer(model)
        texts = {int(token): str(tokenizer.decode([int(token)])) for token in np.unique(pairs.clean)}
        return Texts(task, {item: [texts[int(token)] for token in row] for item, row in enumerate(pairs.clean)}), []


def _same_nodes(first: ComputationalGraph, second: ComputationalGraph) -> bool:
    """Whether most nodes of two graphs have the same names, and nodes of one name are the same units."""
    common = set(first.node_names).intersection(second.node_names)
    if 2 * len(common) <= max(first.n_nodes, second.n_nodes):
        return False
    mine, theirs = first.partition, second.partition
    if mine is None or theirs is None:
        return True
    sites = [site for site in mine.sites if site in theirs.sites]
    return all(np.array_equal(mine.labels[site], theirs.labels[site]) for site in sites)


def _groups(table: Any, column: str) -> dict[str, str]:
    """Node -> group; -1 is none."""
    return {
        str(node): str(group)
        for node, group in zip(table["node"], table[column], strict=True)
        if int(group) >= 0
    }


def _largest_overlap(nodes: Partition, regions: Partition) -> dict[str, str]:
    groups = {}
    for site in nodes.sites:
        if site not in regions.sites or nodes.size(site) != regions.size(site):
            continue
        mine, theirs = nodes.node_index(site), regions.node_index(site)
        both = (mine != DEAD) & (theirs != DEAD)
        pairs, counts = np.unique(np.stack([mine[both], theirs[both]]), axis=1, return_counts=True)
        for at in np.argsort(counts, kind="stable"):  # the largest comes last, and stays
            groups[nodes.node_names[pairs[0, at]]] = regions.node_names[pairs[1, at]]
    return groups


def _fits(part: Partition, buffer: ActivationBuffer) -> bool:
    """Whether the buffer is of the network that the nodes are parts of, and has a site of theirs."""
    sizes = {site.name: site.n_units for site in buffer.architecture.sites}
    recorded = set(buffer.sites["site"])
    return all(sizes.get(site) == part.size(site) for site in part.sites) and any(
        site in recorded for site in part.sites
    )


def _shares(buffer: ActivationBuffer, part: Partition) -> dict[str, dict[str, float]]:
    items = buffer.items.drop_duplicates("item")
    tasks, number = np.unique(items["task"].to_numpy().astype(str), return_inverse=True)
    sums = np.abs(np.concatenate(list(scores_by_item(buffer, part))))
    means: NDArray[np.float64] = np.stack([sums[number == task].mean(axis=0) for task in range(len(tasks))])
    total = means.sum(axis=0)
    names = attributed_part(buffer, part).node_names
    return {
        name: dict(zip(map(str, tasks), (column / whole).tolist(), strict=True))
        for name, column, whole in zip(names, means.T, total, strict=True)
        if whole > 0
    }


def _pixels(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Stretched to 0..255: one channel grey, three in colour, others by their mean."""
    channels = np.asarray(image, dtype=np.float64)
    flat = channels.transpose(1, 2, 0) if len(channels) == 3 else channels.mean(axis=0)
    low, high = float(flat.min()), float(flat.max())
    return np.round((flat - low) / (high - low if high > low else 1.0) * 255).astype(np.uint8)
