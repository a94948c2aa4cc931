"""From a folder of pictures to a convolutional network that you can afford, train, look inside and ship."""

from convista.models import create
