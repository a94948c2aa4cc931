"""`python -m convista`, and so `torchrun --nproc-per-node 2 -m convista train …`."""

from convista.cli import main

if __name__ == "__main__":
    main()
