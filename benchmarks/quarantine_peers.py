"""The peers of quarantine.py, each in its own process and in their own environment, which has none of ours.

A folder holds words.jsonl: the words of each text, one space between them, under "text". What a peer finds goes there
as pairs in <side>.npz, and what it took is its answer; one peer may be asked in two ways, which are two sides.
"""

import json
import logging
import time
from pathlib import Path

import numpy as np
from children import entry, memory_mb


def datasketch(folder, threshold, permutations):
    """Each text is asked for in the index of those before it, then put in. As returned, and filtered by the words."""
    from datasketch import MinHash, MinHashLSH

    with (folder / "words.jsonl").open(encoding="utf-8") as file:
        texts = [json.loads(line)["text"] for line in file]
    begun = time.perf_counter()
    index = MinHashLSH(threshold=threshold, num_perm=permutations)
    pairs = []
    sets = ([word.encode() for word in set(text.split(" "))] for text in texts)
    for number, sketch in enumerate(MinHash.generator(sets, num_perm=permutations)):
        pairs.extend((other, number) for other in index.query(sketch))
        index.insert(number, sketch, check_duplication=False)
    seconds = time.perf_counter() - begun
    peak = memory_mb("VmHWM")
    words = [frozenset(text.split(" ")) for text in texts]
    kept = [(a, b) for a, b in pairs if shared(words[a], words[b]) >= threshold]
    filtered = time.perf_counter() - begun
    for name, found in (("datasketch", pairs), ("datasketch, filtered", kept)):
        np.savez(folder / f"{name}.npz", pairs=np.array(found, dtype=np.int64).reshape(-1, 2))
    about = {"pairs": len(pairs), "bands": index.b, "rows_of_a_band": index.r}
    return {
        "datasketch": {"seconds": seconds, "peak_mb": peak, **about},
        "datasketch, filtered": {"seconds": filtered, "peak_mb": memory_mb("VmHWM"), **about, "pairs": len(kept)},
    }


def shared(one, other):
    both = len(one & other)
    return both / (len(one) + len(other) - both)


def text_dedup(folder, threshold, permutations):
    """Its own program, told to keep which texts it joined."""
    import pickle

    import text_dedup as package
    from text_dedup.minhash import main

    took = {}

    class Listener(logging.Handler):
        def emit(self, record):
            name, _, value = record.getMessage().partition(":")
            if value.strip().endswith("s"):
                took[name.strip()] = float(value.strip()[:-1])

    package.logger.addHandler(Listener())
    output = folder / "text-dedup"
    options = {
        "path": "json",
        "data_files": folder / "words.jsonl",
        "split": "train",
        "column": "text",
        "cache_dir": folder / "cache",
        "output": output,
        "ngram": 1,
        "min_length": 1,
        "threshold": threshold,
        "num_perm": permutations,
        "num_proc": 2,
    }
    words = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    main([*words, "--debug"], standalone_mode=False)
    joined = pickle.loads((output / "uf.pkl").read_bytes())
    members = np.array(sorted(joined.parent), dtype=np.int64)
    firsts = np.array([joined.find(int(member)) for member in members], dtype=np.int64)
    np.savez(folder / "text-dedup.npz", pairs=np.stack([firsts, members], axis=1))
    # What loading and saving takes is not held against it.
    about = {"seconds": took["MinHashing"] + took["Clustering"], "peak_mb": memory_mb("VmHWM")}
    return {"text-dedup": {**about, "whole_seconds": took["Total"], "parts": took}}


def peer(peer, folder, threshold, permutations):
    return {"datasketch": datasketch, "text-dedup": text_dedup}[peer](Path(folder), threshold, permutations)


if __name__ == "__main__":
    entry(None, {"peer": peer})
