"""The stock `SFTTrainer` of a run, and the checkpoints it leaves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfvaccine.files import CHECKPOINTS
from hfvaccine.regimen.positions import row_length
from hfvaccine.regimen.rendering import refused_row
from hfvaccine.training.adapters import lora
from hfvaccine.training.base import Base
from hfvaccine.training.mix import Mix
from hfvaccine.training.options import Training

if TYPE_CHECKING:
    from trl import SFTTrainer


def last_checkpoint(folder: Path) -> str | None:
    """The newest checkpoint that was written to its end: the plan beside it is what is written last."""
    from hfvaccine.regimen.regimen import PLAN_FILE

    complete = [path.parent for path in folder.glob(f"checkpoint-*/{PLAN_FILE}")]
    return str(max(complete, key=lambda path: int(path.name.split("-")[1]))) if complete else None


def make_trainer(options: Training, base: Base, mix: Mix, folder: Path, **settings: Any) -> SFTTrainer:
    """A stock `SFTTrainer` with a LoRA adapter on the base, and the mix as its data, cut to the model's positions.

    A base that comes with an adapter is trained on from there, and gets no other. `settings` are more of `SFTConfig`.

    Raises:
        ModelError: naming the row of the mix that the base's chat template refuses.
    """
    import torch
    from datasets import Dataset as Rows
    from peft import PeftModel
    from transformers import PrinterCallback
    from trl import SFTConfig, SFTTrainer

    from hfvaccine.training.unpadded import remove_padding

    arguments = SFTConfig(
        output_dir=str(folder / CHECKPOINTS),
        per_device_train_batch_size=options.batch_size,
        gradient_accumulation_steps=options.gradient_accumulation_steps,
        num_train_epochs=3 if options.epochs is None else options.epochs,
        max_steps=-1 if options.max_steps is None else options.max_steps,
        learning_rate=options.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=0.05,
        max_length=row_length(options.max_length, base.model.config),
        seed=options.seed,
        save_total_limit=2,  # the newest may be half written when a run is killed
        save_strategy="steps",
        save_steps=50,
        logging_strategy="steps",
        logging_steps=10,
        report_to=[],
        disable_tqdm=True,
        # Recomputing activations saves memory that small models do not need, for a third more time.
        gradient_checkpointing=torch.cuda.is_available(),
        bf16=base.model.dtype == torch.bfloat16,
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=torch.cuda.is_available(),
        ddp_find_unused_parameters=False,  # every adapter takes part in every step
        **settings,
    )
    try:
        trainer = SFTTrainer(
            model=base.model,
            args=arguments,
            train_dataset=Rows.from_list(list(mix.train)),
            processing_class=base.tokenizer,
            peft_config=None if isinstance(base.model, PeftModel) else lora(options, base.id),
        )
    except Exception as error:  # whatever a template raises comes through as it is
        refused = refused_row(base.tokenizer, mix.train)
        if refused is None:
            raise
        raise refused from error
    trainer.model.peft_config["default"].base_model_name_or_path = base.id
    trainer.remove_callback(PrinterCallback)  # it prints logs on stdout, which is for data
    remove_padding(trainer)
    return trainer
