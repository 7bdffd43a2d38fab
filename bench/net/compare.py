# SPDX-License-Identifier: Apache-2.0
"""The table of compare.sh; see there. Also writes RESULTS_DIR/compare.dat for the plot."""
import json
import pathlib
import re
import sys

BASE = "virtio"


def iperf(path, key="bits_per_second"):
    end = json.loads(path.read_text())["end"]
    total = end.get("sum_received") or end["sum"]
    if key == "packets":
        received = total["packets"] - total.get("lost_packets", 0)
        return received / total["seconds"]
    return total[key] / 1e6


def ping(path, percent):
    times = sorted(float(t) for t in re.findall(r"time=([0-9.]+) ms", path.read_text()))
    return 1000 * times[int(percent / 100 * (len(times) - 1))]


def sockperf(path, percent):
    return float(re.search(rf"percentile {percent}\.000 *= *([0-9.]+)", path.read_text())[1])


def member(path, key):
    return json.loads(path.read_text())[key]


# name, unit, file, how to read it, whether more is better
ROWS = [
    ("TCP, 1 stream", "Mbit/s", "tcp", iperf, True),
    ("TCP, 8 streams", "Mbit/s", "tcp8", iperf, True),
    ("TCP, reverse", "Mbit/s", "tcp-reverse", iperf, True),
    ("UDP", "Mbit/s", "udp", iperf, True),
    *[(f"UDP frames of {b}", "1/s", f"pps-{b}", lambda p: iperf(p, "packets"), True)
      for b in (64, 128, 256, 512)],
    *[(f"ping p{n}", "us", "ping", lambda p, n=n: ping(p, n), False) for n in (50, 95, 99)],
    ("ping jitter", "p99/p50", "ping", lambda p: ping(p, 99) / ping(p, 50), False),
    *[(f"sockperf TCP p{n}", "us", "sockperf", lambda p, n=n: sockperf(p, n), False)
      for n in (50, 99)],
    *[row for k in ("tcp_rr", "tcp_crr", "udp_rr") for row in (
        (k.upper(), "1/s", k, lambda p: member(p, "per_second"), True),
        (f"{k.upper()} jitter", "p99/p50", k,
         lambda p: member(p, "p99_us") / member(p, "p50_us"), False))],
]


def newest(results):
    """Back end -> folder of its newest run; the base first."""
    found = {}
    for backend in sorted(results.iterdir()):
        runs = sorted(r for r in backend.iterdir() if r.is_dir()) if backend.is_dir() else []
        if runs:
            found[backend.name] = runs[-1]
    return dict(sorted(found.items(), key=lambda item: (item[0] != BASE, item[0])))


def value(folder, name, read):
    path = folder / f"{name}.txt"
    try:
        return read(path)
    except (OSError, ValueError, KeyError, TypeError, IndexError, ZeroDivisionError):
        return None


def cell(number, base, more):
    if number is None:
        return "-"
    text = f"{number:.3g}" if number < 1000 else f"{number:.0f}"
    if base and number and number is not base:
        gain = number / base if more else base / number
        text += f" ({100 * (gain - 1):+.0f}%)"
    return text


def main(results):
    runs = newest(results)
    if not runs:
        sys.exit(f"compare.sh: no runs in '{results}'")
    names = list(runs)
    print(f"{'':24}{'unit':9}" + "".join(f"{n:>20}" for n in names))
    data = ["measure " + " ".join(names)]
    for title, unit, file, read, more in ROWS:
        numbers = [value(runs[n], file, read) for n in names]
        if all(n is None for n in numbers):
            continue
        base = numbers[0]
        print(f"{title:24}{unit:9}" +
              "".join(f"{cell(n, base if i else None, more):>20}" for i, n in enumerate(numbers)))
        data.append(f'"{title}" ' + " ".join(
            "0" if n is None or not base else f"{n / base:.4f}" for n in numbers))
    print(f"gains are over {names[0]}; better is positive")
    (results / "compare.dat").write_text("\n".join(data) + "\n")


main(pathlib.Path(sys.argv[1]))
