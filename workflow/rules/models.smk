"""Checkpoints: trained here, all of one model in one job, or pretrained ones, registered where they lie."""

for MODEL in STUDY.trained():

    rule:
        name:
            f"train_{MODEL}"
        output:
            manifests=STUDY.checkpoint_paths(MODEL),
            payloads=[directory(path.removesuffix(".json")) for path in STUDY.checkpoint_paths(MODEL)],
        params:
            folder=f"{STUDY.config.run.results}/{MODEL}",
            flags=STUDY.flags("train", MODEL),
            code=STUDY.code("train", MODEL),
        log:
            f"<results>/logs/{MODEL}/train.log",
        benchmark:
            f"<results>/benchmarks/{MODEL}/train.tsv"
        shell:
            "compgraph train --output {params.folder} {params.flags} --code {params.code} "
            "--threads {threads} --log-file {log} --quiet"


rule import_model:
    input:
        lambda wildcards: STUDY.sources("models", wildcards.model),
    output:
        manifest="<results>/{model}/{checkpoint}/model.json",
        payload=directory("<results>/{model}/{checkpoint}/model"),
    params:
        revision=lambda wildcards: STUDY.revision(wildcards.model, wildcards.checkpoint),
        flags=lambda wildcards: flags_of("import-model", wildcards.model),
        code=lambda wildcards: code_of("import-model", wildcards.model),
    wildcard_constraints:
        model="|".join(map(re.escape, STUDY.pretrained())) or "(?!)",
    log:
        "<results>/logs/{model}/{checkpoint}/import-model.log",
    benchmark:
        "<results>/benchmarks/{model}/{checkpoint}/import-model.tsv"
    shell:
        "compgraph import-model --output {output.manifest} {params.flags} --revision {params.revision:q} "
        "--code {params.code} --device {DEVICE} --threads {threads} --log-file {log} --quiet"
