"""Convolutions without padding: matrix products on the CPU, XLA's own elsewhere.

Inside a scan on the CPU, the gradient of XLA's convolution is about 25 times slower
than the same arithmetic as matrix products. On an accelerator XLA's own is faster. The
choice is made when a program is lowered for a platform.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from pgcli.arrays.shapes import Array, Float

CACHED_IMAGES = 32
"""Images that pass through all layers together on the CPU, so that the outputs of the
layers stay in its cache. The fastest of 8 to 1024; 25 % faster with the gradient.
"""


def patches(image: Array, size: int = 3) -> Array:
    """All size × size windows of [*batch, H, W, C]: [*batch, H', W', size²·C].

    The pixels of a window are in the order of a kernel [size, size, C, *], so that the
    product of windows and kernel rows is the convolution (im2col).
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
    """The convolution as matrix products; `stride` must divide the kernel's size.

    Blocks of stride × stride pixels become channels, so that blocks are convolved with
    stride 1. A kernel of 2 × 2 blocks is then four products, summed with a shift. Some
    products at the borders are not used, which costs less than storing all windows. A
    larger kernel is one product of windows.
    """
    # space to depth: [B, H, W, C] -> [B, H/s, W/s, s²·C]
    size, _, channels, filters = kernel.shape
    side, depth = size // stride, stride**2 * channels
    height, width = ((n - size) // stride + side for n in image.shape[1:3])
    used = image[:, : height * stride, : width * stride]
    blocks = used.reshape(-1, height, stride, width, stride, channels)
    blocks = blocks.transpose(0, 1, 3, 2, 4, 5).reshape(-1, height, width, depth)
    blocks = blocks.astype(kernel.dtype)
    # the kernel likewise: [k, k, C, F] -> [k/s, k/s, s²·C, F]
    weights = kernel.reshape(side, stride, side, stride, channels, filters)
    weights = weights.transpose(0, 2, 1, 3, 4, 5).reshape(side, side, depth, filters)
    if side > 2:
        windows = patches(blocks, side)
        products = windows.reshape(-1, side**2 * depth) @ weights.reshape(-1, filters)
        return products.reshape(*windows.shape[:3], filters)
    # one product [B·h·w, d] × [d, 4·F]: XLA is twice as fast on two axes, and on slices
    # of the last axis
    products = blocks.reshape(-1, depth) @ jnp.moveaxis(weights, 2, 0).reshape(
        depth, -1
    )
    products = products.reshape(*blocks.shape[:3], -1)
    # the sum of the four products, each shifted by its block's position in the kernel
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
    """The convolution by XLA's own operation."""
    return jax.lax.conv_general_dilated(
        image.astype(kernel.dtype),
        kernel,
        window_strides=(stride, stride),
        padding="VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def in_blocks(function: Callable[[Array], Array], batch: Array, size: int) -> Array:
    """`function` applied to a batch, `size` samples at a time, the remainder last."""
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
    """Features [B, h, w, F] of images [B, H, W, C] after several layers of filters.

    Args:
      image: bytes, scaled to the range 0 to 1, or floats.
      kernels: [k, k, C, F] of each layer; their dtype is used for all computation.
      biases: [F] of each layer.
      strides: pixels between the windows of each layer.
      activation: activation function, after each layer.
      channels_first: whether images are [B, C, H, W].
    """
    if image.dtype == jnp.uint8:  # scaling the weights is cheaper than the images
        kernels = [kernels[0] / 255, *kernels[1:]]

    def layers(convolve: Callable[..., Array], image: Array) -> Array:
        features = image.transpose(0, 2, 3, 1) if channels_first else image
        for kernel, bias, stride in zip(kernels, biases, strides, strict=True):
            filtered = convolve(features, kernel, stride)
            features = activation(filtered + bias.reshape(1, 1, 1, -1))
        return features

    return _by_platform(layers, image)


def max_pool(image: Array) -> Array:
    """Largest values of 3 × 3 pixels, with stride 2: [B, ⌈H/2⌉, ⌈W/2⌉, C]."""
    for axis in (1, 2):
        size = image.shape[axis]
        half = -(-size // 2)
        # padded as in XLA's SAME: 2·half + 1 pixels, the odd one behind
        before = (2 * half + 1 - size) // 2
        widths = [(0, 0)] * 4
        widths[axis] = before, 2 * half + 1 - size - before
        padded = jnp.pad(image, widths, constant_values=-jnp.inf)
        first, second, third = (
            jax.lax.slice_in_dim(padded, i, i + 2 * half - 1, 2, axis) for i in range(3)
        )
        image = jnp.maximum(jnp.maximum(first, second), third)
    return image


def residual_convolutions(
    image: Array,
    kernels: Sequence[Array],
    biases: Sequence[Array],
    activation: Callable[[Array], Array],
    *,
    channels_first: bool = False,
) -> Array:
    """Features [B, h, w, F] of images after sections of five layers of 3 × 3 filters.

    A section is one layer, a max pooling with stride 2, and two residual blocks:
    x + layer(activation(layer(activation(x)))). Sizes are kept by padding with zeros.
    The arguments are those of `convolutions`.
    """
    if image.dtype == jnp.uint8:
        kernels = [kernels[0] / 255, *kernels[1:]]

    def layers(convolve: Callable[..., Array], image: Array) -> Array:
        weights = zip(kernels, biases, strict=True)

        def layer(x: Array) -> Array:
            kernel, bias = next(weights)
            padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
            return convolve(padded, kernel, 1) + bias.reshape(1, 1, 1, -1)

        x = image.transpose(0, 2, 3, 1) if channels_first else image
        for _ in range(len(kernels) // 5):
            x = max_pool(layer(x))
            for _ in range(2):
                x = x + layer(activation(layer(activation(x))))
        return activation(x)

    return _by_platform(layers, image)


def _by_platform(layers: Callable[..., Array], image: Array) -> Array:
    """`layers(convolve, image)` with the form of convolution for the platform."""
    batch: object = image.shape[0]
    if not isinstance(batch, int):  # symbolic: an export, for any platform
        return layers(as_convolution, image)
    result: Array = jax.lax.platform_dependent(
        image,
        cpu=lambda image: in_blocks(
            lambda part: layers(as_products, part), image, CACHED_IMAGES
        ),
        default=lambda image: layers(as_convolution, image),
    )
    return result
