"""What random numbers start from."""

import os


def run_seed() -> int:
    """The number that `seed_everything` has set for this process and those it starts; 0 if it was never called."""
    return int(os.environ.get("PL_GLOBAL_SEED", "0"))


def mix_seed(*parts: int) -> int:
    """One 63-bit seed from several integers (splitmix64 rounds), so that neighbouring draws are unrelated."""
    state = 0x9E3779B97F4A7C15
    for part in parts:
        state = (state + part * 0xBF58476D1CE4E5B9 + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 31
    return state & 0x7FFFFFFFFFFFFFFF
