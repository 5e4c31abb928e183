"""Datasets, once for each model: prompts are tokenised by its tokenizer, which all its checkpoints share."""


rule data:
    input:
        model=lambda wildcards: STUDY.checkpoint_paths(wildcards.model)[-1],
        sources=lambda wildcards: STUDY.sources("datasets", wildcards.name),
    output:
        manifest="<results>/{model}/datasets/{name}.json",
        payload=directory("<results>/{model}/datasets/{name}.data"),
    params:
        flags=flags("data"),
        code=code("data"),
    log:
        "<results>/logs/{model}/datasets/{name}.log",
    benchmark:
        "<results>/benchmarks/{model}/datasets/{name}.tsv"
    shell:
        "compgraph data {input.model} --output {output.manifest} {params.flags} --code {params.code} "
        "--threads {threads} --log-file {log} --quiet"
