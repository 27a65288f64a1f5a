"""Named sets of defaults. A sweep file takes one with `preset`, and its own keys win over it."""

from typing import Any

PRESETS: dict[str, dict[str, Any]] = {
    # The released G-XLT code (arXiv:2309.17134), stage 2: what run_squad_w_distillation.py and its scripts do.
    "legacy": {
        "data": {
            "languages": ["en", "es", "de", "ar", "vi", "hi", "zh"],
            "pivot": "en",
            "english_centric": True,
            "max_length": 384,
            # The released 128 is the step between windows of 381 - q tokens of context, q the question's length, so
            # its overlap, 253 - q, differs from question to question. One overlap for all cannot express that.
            "stride": 192,
            "max_question_length": 64,
            "no_answer": "cls",
            "teacher_view": "same",
        },
        "lineage": {
            "num_generations": 3,
            "epochs_per_generation": 1,
            "student_init": "previous",
            "teacher": "snapshot",
        },
        "distillation": {
            "label_weight": 1.0,
            "kd_weight": 1.0,
            "temperature": 2.0,
            "direction": "forward_kl",
            "coefficient": "reciprocal_rank",  # what the released mAP@k amounts to
            "k": 10,
            "window": [5, 4],
            "reduce": "batch",
            "reduce_group": 6,  # one coefficient for each micro-batch
            "context_only": False,
            "signals": "live",
        },
        "training": {
            "learning_rate": 5e-5,
            "lr_schedule": "linear",
            "warmup": 0.0,
            "weight_decay": 0.0,
            "adam_epsilon": 1e-8,
            "max_grad_norm": 1.0,
            "tokens_per_step": None,
            "examples_per_step": 24,
            "micro_batch_examples": 6,
            "pad_to_max": True,
        },
        "evaluation": {"normalization": "mlqa", "max_answer_tokens": 30},
        "compute": {"precision": "float32"},
        "seed": 3,
    },
}
