"""Convolutions without padding, as matrix products where XLA's own are slow.

Inside a scan on the CPU the gradient of XLA's convolution is some 25 times slower than
that of the same arithmetic as matrix products. On an accelerator its own is the
fastest. Which of the two a program holds is settled when it is lowered for a platform.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from pgcli.arrays.shapes import Array, Float

CACHED_IMAGES = 32
"""Images that go through all layers together on the CPU, so that what lies between the
layers stays in its cache: of 8 to 1024 images the fastest, by a quarter with gradient.
"""


def patches(image: Array, size: int = 3) -> Array:
    """Every size × size window of [*batch, H, W, C]: [*batch, H', W', size²·C].

    A window's pixels lie side by side in the order of a kernel [size, size, C, *], so
    that windows times the kernel's rows is the convolution (im2col).
    """
    height, width = image.shape[-3] - size + 1, image.shape[-2] - size + 1
    return jnp.concatenate(
        [
            image[..., row : row + height, column : column + width, :]
            for row in range(size)
            for column in range(size)
        ],
        axis=-1,
    )


def as_products(
    image: Array, kernel: Float[Array, "k k C F"], stride: int
) -> Float[Array, "B h w F"]:
    """The convolution as matrix products; `stride` divides the kernel's size.

    Blocks of stride × stride pixels become channels, so that the blocks are convolved
    with stride 1. A kernel of 2 × 2 blocks is then four products, summed with a shift:
    at their borders some are computed in vain, which costs less than to lay out all
    windows. A larger one is one product of windows.
    """
    size, _, channels, filters = kernel.shape
    side, depth = size // stride, stride**2 * channels
    height, width = ((n - size) // stride + side for n in image.shape[1:3])
    used = image[:, : height * stride, : width * stride]
    blocks = used.reshape(-1, height, stride, width, stride, channels)
    blocks = blocks.transpose(0, 1, 3, 2, 4, 5).reshape(-1, height, width, depth)
    blocks = blocks.astype(kernel.dtype)
    weights = kernel.reshape(side, stride, side, stride, channels, filters)
    weights = weights.transpose(0, 2, 1, 3, 4, 5).reshape(side, side, depth, filters)
    if side > 2:
        windows = patches(blocks, side)
        products = windows.reshape(-1, side**2 * depth) @ weights.reshape(-1, filters)
        return products.reshape(*windows.shape[:3], filters)
    # two axes, and plain slices of the last: what XLA makes of others is half as fast
    products = blocks.reshape(-1, depth) @ jnp.moveaxis(weights, 2, 0).reshape(
        depth, -1
    )
    products = products.reshape(*blocks.shape[:3], -1)
    parts = jnp.split(products, side**2, axis=-1)
    height, width = height - side + 1, width - side + 1
    return sum(
        (
            parts[side * row + column][:, row : row + height, column : column + width]
            for row in range(side)
            for column in range(side)
        ),
        start=jnp.zeros((), kernel.dtype),
    )


def as_convolution(
    image: Array, kernel: Float[Array, "k k C F"], stride: int
) -> Float[Array, "B h w F"]:
    """The same by XLA's own convolution."""
    return jax.lax.conv_general_dilated(
        image.astype(kernel.dtype),
        kernel,
        window_strides=(stride, stride),
        padding="VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def in_blocks(function: Callable[[Array], Array], batch: Array, size: int) -> Array:
    """`function` of a batch, `size` samples at a time and the rest last."""
    count = batch.shape[0] // size
    if count < 2:
        return function(batch)
    whole = batch[: count * size].reshape(count, size, *batch.shape[1:])
    done: Array = jax.lax.map(function, whole)
    done = done.reshape(count * size, *done.shape[2:])
    if count * size == batch.shape[0]:
        return done
    return jnp.concatenate([done, function(batch[count * size :])])


def convolutions(
    image: Array,
    kernels: Sequence[Array],
    biases: Sequence[Array],
    strides: Sequence[int],
    activation: Callable[[Array], Array],
    *,
    channels_first: bool = False,
) -> Array:
    """Images [B, H, W, C] through layers of filters: [B, h, w, F].

    Args:
      image: of bytes, which stand for 0 to 1, or floats.
      kernels: [k, k, C, F] of each layer; all is computed in their dtype.
      biases: [F] of each layer.
      strides: pixels between the windows of each layer.
      activation: after each layer.
      channels_first: images are [B, C, H, W].
    """
    if image.dtype == jnp.uint8:  # smaller weights cost less than larger pictures
        kernels = [kernels[0] / 255, *kernels[1:]]

    def through(convolve: Callable[..., Array], image: Array) -> Array:
        features = image.transpose(0, 2, 3, 1) if channels_first else image
        for kernel, bias, stride in zip(kernels, biases, strides, strict=True):
            filtered = convolve(features, kernel, stride)
            features = activation(filtered + bias.reshape(1, 1, 1, -1))
        return features

    result: Array = jax.lax.platform_dependent(
        image,
        cpu=lambda image: in_blocks(
            lambda part: through(as_products, part), image, CACHED_IMAGES
        ),
        default=lambda image: through(as_convolution, image),
    )
    return result
