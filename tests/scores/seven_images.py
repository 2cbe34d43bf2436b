"""Seven images as the tests of batches and of shards go through them."""

import torch
from torch.utils.data import Dataset, IterableDataset, TensorDataset

N_IMAGES = 7
IMAGES = torch.arange(N_IMAGES * 3.0).reshape(N_IMAGES, 3)
LABELS = torch.arange(N_IMAGES) % 3
DATA = TensorDataset(IMAGES, LABELS)


class Stream(IterableDataset):
    def __iter__(self):
        return iter(DATA)


class CountedStream(Stream):
    def __len__(self):
        return N_IMAGES


class Endless(Dataset):
    """Without a length."""

    def __getitem__(self, index):
        return IMAGES[index % N_IMAGES]
