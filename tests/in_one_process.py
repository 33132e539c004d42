"""benchmarks/gpu.py in one process, where its sections have processes of their own: most of their time is their start.

python tests/in_one_process.py OPTIONS
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path


def main():
    sys.path[0] = str(Path(__file__).parents[1] / "benchmarks")  # which has a module `trainers`, as this folder has
    import gpu
    import gpu_sections
    import trainers
    import turns

    def in_turns(jobs, **others):
        """Each trainer by itself to its end, with the turns that it would have had."""
        runs = {}
        for job in jobs:
            said = []
            trainers.answer = lambda content, said=said: said.append(json.loads(json.dumps(content)))
            trainers.told = lambda: {"last": False}
            trainers.train(**asdict(job))
            run = turns.Run.__new__(turns.Run)
            run.job, run.ready, run.done, run.turns = job, said[0], said[-1]["done"], [one["turn"] for one in said[1:]]
            runs[job.kind] = run
        return runs

    gpu.ask = lambda script, name, job, within: gpu_sections.JOBS[name](**job)
    turns.in_turns = in_turns
    trainers.ASKED_AT_ONCE, trainers.CLAIMS = 3, 12  # short rows, and few of them
    gpu.main()


if __name__ == "__main__":
    main()
