"""What changes over the checkpoints of a training, and over the size of models."""


def followed(stage):
    """Manifests of all results that one of these follows."""
    return lambda wildcards: [
        STUDY.path(one) for there in STUDY.followed(stage, **_followed_place(wildcards)).values() for one in there
    ]


def followed_payloads(stage):
    """Their payloads, as inputs whose dates mean nothing."""
    return lambda wildcards: ancient(
        [
            STUDY.payload(one)
            for there in STUDY.followed(stage, **_followed_place(wildcards)).values()
            for one in there
        ]
    )


def followed_flags(stage):
    """The options that name them, each path once."""
    return lambda wildcards: STUDY.followed_flags(stage, **_followed_place(wildcards))


def _followed_place(wildcards):
    several = {"model": wildcards.get("model", "all"), "checkpoint": "all" if "model" in wildcards.keys() else "last"}
    return {**several, "dataset": wildcards.dataset, "name": wildcards.name}


rule tracking:
    input:
        manifests=followed("tracking"),
        payloads=followed_payloads("tracking"),
    output:
        manifest="<results>/{model}/all/{dataset}/tracking/{name}.json",
        payload=directory("<results>/{model}/all/{dataset}/tracking/{name}.tables"),
    params:
        inputs=followed_flags("tracking"),
        flags=flags("tracking"),
        code=code("tracking"),
    log:
        "<results>/logs/{model}/all/{dataset}/tracking/{name}.log",
    benchmark:
        "<results>/benchmarks/{model}/all/{dataset}/tracking/{name}.tsv"
    shell:
        "compgraph tracking {params.inputs} --output {output.manifest} {params.flags} "
        "--code {params.code} --threads {threads} --log-file {log} --quiet"


rule scale:
    input:
        manifests=followed("scale"),
        payloads=followed_payloads("scale"),
    output:
        manifest="<results>/all/last/{dataset}/scale/{name}.json",
        payload=directory("<results>/all/last/{dataset}/scale/{name}.tables"),
    params:
        inputs=followed_flags("scale"),
        flags=flags("scale"),
        code=code("scale"),
    log:
        "<results>/logs/all/last/{dataset}/scale/{name}.log",
    benchmark:
        "<results>/benchmarks/all/last/{dataset}/scale/{name}.tsv"
    shell:
        "compgraph scale {params.inputs} --output {output.manifest} {params.flags} "
        "--code {params.code} --threads {threads} --log-file {log} --quiet"
