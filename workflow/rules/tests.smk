"""Tests of circuits, blocks and regions. What one reads beside its model and data, its entry says."""


def read_by_test(wildcards):
    """Role to result."""
    return STUDY.test_inputs(f"{wildcards.model}/{wildcards.checkpoint}/{wildcards.dataset}", wildcards.test)


rule tests:
    input:
        model="<results>/{model}/{checkpoint}/model.json",
        data="<results>/{model}/datasets/{dataset}.json",
        read=lambda wildcards: [STUDY.path(read) for read in read_by_test(wildcards).values()],
        baseline=lambda wildcards: STUDY.baseline_paths("tests", wildcards.test.partition("@")[0], wildcards.model),
        payloads=[
            payload("<results>/{model}/{checkpoint}/model.json", ""),
            payload("<results>/{model}/datasets/{dataset}.json", ".data"),
        ],
        more=lambda wildcards: ancient([STUDY.payload(read) for read in read_by_test(wildcards).values()]),
    output:
        manifest="<results>/{model}/{checkpoint}/{dataset}/tests/{test}.json",
        payload=directory("<results>/{model}/{checkpoint}/{dataset}/tests/{test}.tables"),
    params:
        read=lambda wildcards: " ".join(
            f"--input {role}={STUDY.path(read)}" for role, read in read_by_test(wildcards).items()
        ),
        baseline=lambda wildcards, input: "".join(f"--baseline-data {path}" for path in input.get("baseline", [])),
        cache=f"{STUDY.config.run.results}/cache",
        flags=lambda wildcards: flags_of("tests", wildcards.test.partition("@")[0]),
        code=lambda wildcards: code_of("tests", wildcards.test.partition("@")[0]),
    wildcard_constraints:
        test=r"[a-z0-9][a-z0-9._-]*(@effective\.[a-z0-9][a-z0-9._-]*)?",
    log:
        "<results>/logs/{model}/{checkpoint}/{dataset}/tests/{test}.log",
    benchmark:
        "<results>/benchmarks/{model}/{checkpoint}/{dataset}/tests/{test}.tsv"
    shell:
        "compgraph tests {input.model} {input.data} {params.read} {params.baseline} --cache {params.cache} --output {output.manifest} {params.flags} "
        "--code {params.code} --device {DEVICE} --threads {threads} --log-file {log} --quiet"
