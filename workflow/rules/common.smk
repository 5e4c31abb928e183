"""Parameters that rules share. Each rule gets the options of its own entry and the digest of its own code, no more."""


from functools import cache

# Snakemake asks again for every job and whenever it looks for the next one, and thousands of jobs share an entry.
flags_of, code_of = cache(STUDY.flags), cache(STUDY.code)


def flags(stage):
    """Options of the verb for the entry that the wildcard `name` means."""
    return lambda wildcards: flags_of(stage, wildcards.get("name", ""))


def code(stage):
    """Digest of the code behind that entry."""
    return lambda wildcards: code_of(stage, wildcards.get("name", ""))


def rois(stage):
    """Manifest of the ROIs that a graph's nodes are, if its partition asks for some."""
    return lambda wildcards: STUDY.roi_paths(
        stage, wildcards.name, wildcards.model, wildcards.checkpoint, wildcards.get("dataset", "")
    )


def roi_flag(stage):
    """The option that names this manifest."""
    return lambda wildcards: "".join(f"--rois {path}" for path in rois(stage)(wildcards))


def baseline(stage):
    """Manifest of the other data that a baseline is taken from, if the entry names some."""
    return lambda wildcards: STUDY.baseline_paths(stage, wildcards.name, wildcards.model)


def baseline_flag(stage):
    """The option that names this manifest."""
    return lambda wildcards: "".join(f"--baseline-data {path}" for path in baseline(stage)(wildcards))


def dictionaries(stage):
    """Manifest of the dictionaries whose features an entry's units are (of an ablation: its graph's), if it names some."""
    return lambda wildcards: STUDY.dictionary_paths(
        stage,
        wildcards.graph if stage == "ablation" else wildcards.name,
        wildcards.model,
        wildcards.checkpoint,
        wildcards.dataset,
    )


def dictionaries_flag(stage):
    """The option that names this manifest."""
    model = "" if stage in ("attributions", "effective", "ablation") else " --model {results}/{model}/{checkpoint}/model.json"
    return lambda wildcards: "".join(
        f"--dictionaries {path}" + model.format(results=STUDY.config.run.results, **wildcards)
        for path in dictionaries(stage)(wildcards)
    )


def buffers(stage):
    """Manifests of the buffers that an entry reads."""
    return lambda wildcards: STUDY.buffer_paths(
        stage, wildcards.name, wildcards.model, wildcards.checkpoint, wildcards.dataset
    )


def buffer_payloads(stage):
    """What lies beside them, as inputs whose dates mean nothing."""
    return lambda wildcards: ancient(
        STUDY.buffer_payloads(stage, wildcards.name, wildcards.model, wildcards.checkpoint, wildcards.dataset)
    )


def besides(key):
    """Manifests of the buffers of other datasets that a functional entry reads under a key: pool, against."""
    return lambda wildcards: STUDY.buffers_besides(
        wildcards.name, wildcards.model, wildcards.checkpoint, wildcards.dataset
    )[key]


def besides_flags(*keys):
    """The options that name these manifests."""
    return lambda wildcards: " ".join(f"--{key} {path}" for key in keys for path in besides(key)(wildcards))


def parts(wildcards):
    """Manifests of the parts that a functional entry is merged from; none if it makes one pass."""
    return STUDY.part_paths(wildcards.name, wildcards.model, wildcards.checkpoint, wildcards.dataset)


def parts_flags(wildcards):
    """The options that name these manifests."""
    return " ".join(f"--part-file {path}" for path in parts(wildcards))


def making(wildcards):
    """How the null graphs of a graph are made."""
    return STUDY.null_graphs(wildcards.place, wildcards.name, f"{wildcards.stage}.{wildcards.graph}")


def null_inputs(wildcards):
    """Manifests of what they are made from, by role."""
    return {role.replace("-", "_"): STUDY.path(one) for role, one in making(wildcards).inputs.items()}


def null_payloads(wildcards):
    """What lies beside these manifests."""
    return ancient([STUDY.payload(one) for one in making(wildcards).inputs.values()])


def null_options(wildcards):
    """The options that name these manifests."""
    named = making(wildcards).inputs.items()
    return " ".join(f"--{role} {STUDY.path(one)}" for role, one in named if role not in ("graph", "model"))


def nulls(stage):
    """Manifest of the null graphs that an entry compares with, if it asks for some."""
    return lambda wildcards: STUDY.null_graph_paths(
        stage, wildcards.name, wildcards.place, f"{wildcards.stage}.{wildcards.graph}"
    )


def nulls_flag(stage):
    """The option that names this manifest."""
    return lambda wildcards: "".join(f"--null-graphs {path}" for path in nulls(stage)(wildcards))


def page_of(wildcards):
    """Where the graph of an interactive page lies, and its name."""
    return wildcards.model, wildcards.checkpoint, wildcards.dataset, f"{wildcards.stage}.{wildcards.graph}"


def payload(path, ending):
    """What lies beside a manifest, as an input whose date means nothing."""
    return ancient(path.removesuffix(".json") + ending)
