"""hfvaccine, in processes that shard a model between CPUs: accelerate does that on devices of other kinds alone, for
no reason of PyTorch's. Started by accelerate's launcher in place of `-m hfvaccine`."""

from accelerate import PartialState
from accelerate.utils import DistributedType
from torch.distributed.tensor import DTensor
from transformers import Trainer

from hfvaccine.cli import main

begin, train = PartialState.__init__, Trainer.train


def say_another_kind(self, *given, **named):
    begin(self, *given, **named)
    if self.distributed_type == DistributedType.MULTI_CPU:
        self._shared_state["distributed_type"] = self.distributed_type = DistributedType.MULTI_GPU


def say_what_is_sharded(self, *given, **named):
    outcome = train(self, *given, **named)
    weights = list(self.model.parameters())
    print(f"sharded: {sum(isinstance(one, DTensor) for one in weights)} of {len(weights)}", flush=True)
    return outcome


PartialState.__init__ = say_another_kind
Trainer.train = say_what_is_sharded
main()
