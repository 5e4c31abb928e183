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


def payload(path, ending):
    """What lies beside a manifest, as an input whose date means nothing."""
    return ancient(path.removesuffix(".json") + ending)
