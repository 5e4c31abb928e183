"""What each rule asks a cluster for, after all rules: estimated by the study, more of it at each retry."""

from snakemake.resources import Resources

from compgraph.config.resources import estimate

SLURM = STUDY.config.run.slurm
CHOSEN = {"slurm_account": SLURM.account, "slurm_partition": SLURM.partition, "qos": SLURM.qos, "constraint": SLURM.constraint}
estimate_of = cache(lambda rule, model, dataset: estimate(STUDY, rule, model, dataset))


def needs(rule, what):
    """A resource of a rule's jobs, by what they are of."""

    def needed(wildcards, attempt):
        place = [*wildcards.get("place", "").split("/"), "", ""]
        found = estimate_of(rule, wildcards.get("model", place[0]), wildcards.get("dataset", place[2]))
        return attempt * getattr(found, what)

    return needed


for each in workflow.rules:
    if each.name == "all":
        continue
    wanted = {"mem_mb": needs(each.name, "mem_mb"), "runtime": needs(each.name, "minutes")}
    wanted |= {key: word for key, word in CHOSEN.items() if word}
    if SLURM.options:
        wanted["slurm_extra"] = " ".join(SLURM.options)
    if DEVICE == "cuda" and "--device" in (each.shellcmd or ""):
        wanted["gpu"] = 1
    each.resources.update(Resources.from_mapping(wanted))
    each.resources["_cores"] = estimate_of(each.name, "", "").cpus
    # What the command line sets has the last word.
    each.resources.update(workflow.resource_settings._parsed_overwrite_resources.get(each.name, {}))
