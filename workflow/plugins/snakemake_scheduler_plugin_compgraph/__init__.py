"""A Snakemake scheduler that finishes one checkpoint before the next, so that its network is loaded few times."""

from snakemake_interface_scheduler_plugins.base import SchedulerBase


class Scheduler(SchedulerBase):
    """Takes the ready jobs in one order as long as there is room for them."""

    def select_jobs(self, selectable_jobs, remaining_jobs, available_resources, input_sizes):
        """The ready jobs that start now."""
        left = dict(available_resources)
        chosen = []
        for job in sorted(selectable_jobs, key=order):
            if left["_cores"] <= 0:
                break  # what a job needs is worked out anew in every round, for thousands of jobs if one looks
            needed = job.scheduler_resources
            if all(needed.get(name, 0) <= room for name, room in left.items()):
                chosen.append(job)
                left = {name: room - needed.get(name, 0) for name, room in left.items()}
        return chosen


def order(job) -> tuple:
    """Urgent ones first, then one folder of results after the other."""
    return -job.priority, min(map(str, job.output), default="")
