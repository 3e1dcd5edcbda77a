"""Usage: compare_tables.py CPU.csv CUDA.csv. Two tables of lava-replay --csv, row by row: the same retained counts, and losses that are
equal to 1e-5 of the CPU's. Prints the largest deviation; ends with 1 where one is larger."""

import csv
import sys

LOSSES = ("head_l1", "head_output_l1", "head_output_l2", "attn_out_l1", "attn_out_l2")
SAME = ("policy", "match", "budget", "asked", "granted", "retained")


def rows_of(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def main(cpu, cuda):
    expected, found = rows_of(cpu), rows_of(cuda)
    if not expected or len(expected) != len(found):
        sys.exit(f"{cuda}: expected {len(expected)} rows as in {cpu}, at least one, found {len(found)}")
    worst = (0.0, "")
    for row, other in zip(expected, found):
        for name in SAME:
            if row[name] != other[name]:
                sys.exit(f"{cuda}: {row['policy']} at {row['budget']}: {name}: expected {row[name]}, found {other[name]}")
        for name in LOSSES:
            a, b = float(row[name] or 0), float(other[name] or 0)
            deviation = abs(a - b) / max(abs(a), 1e-30) if a != b else 0.0
            if not deviation <= worst[0]:  # NaN too
                worst = (deviation, f"{name} of {row['policy']} at {row['budget']}")
    print(f"RESULT {len(expected)} rows, largest relative deviation {worst[0]:.1e} ({worst[1] or 'all equal'})")
    return worst[0] <= 1e-5


if __name__ == "__main__":
    sys.exit(not main(*sys.argv[1:]))
