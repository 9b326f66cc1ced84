"""torchrun with the status of its workers: `python -m reenact.cluster.torchrun` takes torchrun's arguments.

torchrun itself ends with status 1 whatever a worker said, so that a training that has saved its state and wants to go
on could not be told from one that failed.
"""

import sys

from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main

if __name__ == "__main__":
    try:
        main()
    except ChildFailedError as error:
        # The first worker to leave has the reason; the others were stopped because of it.
        rank, first = error.get_first_failure()
        print(f"torchrun: worker {rank} ended with status {first.exitcode}", flush=True)
        sys.exit(first.exitcode if first.exitcode > 0 else 128 - first.exitcode)
