"""What options of several commands say."""

PRECISIONS = "fp32 (default), bf16, fp16, or auto: bf16 where the device multiplies it."
