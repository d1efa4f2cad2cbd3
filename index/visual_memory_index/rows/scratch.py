"""What a product leaves in RAM: parts of matrices in OpenBLAS's buffers and on its thread's stack.

It is cleared by functions that Numba compiles: on their way they take no memory, so they are done
in full or not at all.
"""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils as untyped
from numba.core import types
from numba.extending import intrinsic

from visual_memory_index.rows.compiled import compiled

BUFFERS = 16
LACKING, REFUSED = 1, 2
STACK_BYTES = 1 << 17  # of OpenBLAS's kernels those for AVX2 reach deepest, some 56 KiB

cgutils: Any = untyped
BIT, BYTE, INT, WORD = (*map(ir.IntType, (1, 8, 32, 64)),)


@intrinsic
def taken_buffer(typing: Any, function: Any) -> Any:
    """Return the address of a buffer that is used no more, now in use, or 0."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        type = ir.FunctionType(WORD, [INT])
        return builder.call(builder.inttoptr(*values, type.as_pointer()), [INT(0)])

    return types.int64(types.int64), generate


@intrinsic
def given_back(typing: Any, function: Any, buffer: Any) -> Any:
    """Give a buffer that was taken back."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        type = ir.FunctionType(ir.VoidType(), [WORD])
        builder.call(builder.inttoptr(values[0], type.as_pointer()), [values[1]])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


@intrinsic
def forgotten(typing: Any, start: Any, size: Any) -> Any:
    """Give pages of a private mapping back to Linux, after which they read as zeros; return 0."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        type = ir.FunctionType(INT, [WORD, WORD, INT])
        madvise = cgutils.get_or_insert_function(builder.module, type, "madvise")
        return builder.call(madvise, [*values, INT(mmap.MADV_DONTNEED)])

    return types.int32(types.int64, types.int64), generate


@intrinsic
def overwritten(typing: Any) -> Any:
    """Overwrite what lies below the frame of the calling function."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        room = builder.bitcast(builder.alloca(ir.ArrayType(BYTE, STACK_BYTES)), BYTE.as_pointer())
        type = ir.FunctionType(ir.VoidType(), [BYTE.as_pointer(), BYTE, WORD, BIT])
        memset = cgutils.get_or_insert_function(builder.module, type, "llvm.memset.p0.i64")
        builder.call(memset, [room, BYTE(0), WORD(STACK_BYTES), BIT(0)])
        seen = ir.FunctionType(ir.VoidType(), [BYTE.as_pointer()])
        builder.asm(seen, "", "r,~{memory}", [room], side_effect=True)  # else LLVM leaves it out
        return context.get_dummy_value()

    return types.void(), generate


# The first parameter of each is Numba's own.
take: Any = taken_buffer
give: Any = given_back
forget: Any = forgotten
overwrite: Any = overwritten


@compiled
def clear_buffers(taking: int, giving: int, size: int) -> int:
    """Clear the first ``size`` bytes of buffers that are not in use; return 0 if all were cleared.

    Return LACKING if OpenBLAS gave one too few, REFUSED if Linux took the pages of one not back.
    ``taking`` and ``giving`` are the addresses of OpenBLAS's own functions.
    """
    taken = np.zeros(BUFFERS, np.int64)
    problem = 0
    for number in range(BUFFERS):
        taken[number] = take(taking)
        if taken[number] == 0:
            problem = LACKING
        elif forget(taken[number], size) != 0:
            problem = REFUSED
    for number in range(BUFFERS):
        if taken[number] != 0:
            give(giving, taken[number])
    return problem


@compiled
def clear_stack() -> None:
    """Overwrite what the functions that were called before left on the stack of this thread."""
    overwrite()


def compile_functions() -> None:
    """Have the functions compiled."""
    clear_stack()
    clear_buffers.compile((types.int64, types.int64, types.int64))
