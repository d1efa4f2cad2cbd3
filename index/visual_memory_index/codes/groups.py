"""Instructions for the codes of 16 rows at a time, written for LLVM.

The codes of 16 rows lie together as a group: for every 8 dimensions a chunk of 64 bytes, 4 of each
row, whose low halves are the first 4 dimensions and whose high halves are the other 4. So one
instruction adds products for all 16 rows, and no sum runs across a register. Sums are integers of
32 bits, the same on every processor; ``INSTRUCTIONS`` says by which instructions they are made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, cast

from llvmlite import ir
from numba.core import cgutils as untyped
from numba.core import codegen as untyped_codegen
from numba.core import config, types
from numba.extending import intrinsic

GROUP = 16  # rows
DIMENSIONS = 8  # of a chunk
CHUNK = 64  # bytes
MANY = 16  # queries that are multiplied together
FETCHED = 4096  # bytes ahead: without it a scan takes 1.4 times as long (measured once, by hand)
ROUNDED = 1e-5  # see ``codes``

INT8, INT16, INT32, INT64, FLOAT = (*map(ir.IntType, (8, 16, 32, 64)), ir.FloatType())
BYTES, SUMS = ir.VectorType(INT8, CHUNK), ir.VectorType(INT32, GROUP)
FLOATS = ir.VectorType(FLOAT, GROUP)

cgutils: Any = untyped
codegen: Any = untyped_codegen
Value: TypeAlias = ir.Value
Builder: TypeAlias = ir.IRBuilder


def instructions() -> str:
    """Return the best instructions that the processor has and Numba may use."""
    given: str | None = vars(config)["CPU_FEATURES"]  # as NUMBA_CPU_FEATURES says
    names = set((codegen.get_host_cpu_features() if given is None else given).split(","))
    if {"+avx512f", "+avx512vnni"} <= names:
        return "avx512"
    return "avx2" if "+avx2" in names else "serial"


INSTRUCTIONS = instructions()


def constant(type: ir.Type, value: float) -> ir.Constant:
    """Return a constant, in all places of a vector."""
    count = getattr(type, "count", None)
    return ir.Constant(type, value if count is None else [value] * count)


def place(builder: Builder, address: Value, offset: int, type: ir.Type) -> Value:
    """Return a pointer to what is at ``address`` + ``offset``."""
    return builder.inttoptr(builder.add(address, constant(INT64, offset)), type.as_pointer())


def read(builder: Builder, address: Value, type: ir.Type, offset: int = 0) -> Value:
    """Return what is at ``address`` + ``offset``."""
    return builder.load(place(builder, address, offset, type), align=1)


def spread(builder: Builder, value: Value) -> Value:
    """Return a vector with ``value`` in all its 16 places."""
    type = ir.VectorType(value.type, GROUP)
    first = builder.insert_element(ir.Constant(type, ir.Undefined), value, constant(INT32, 0))
    return builder.shuffle_vector(first, first, constant(SUMS, 0))


def operate(builder: Builder, name: str, result: ir.Type, *values: Value) -> Value:
    """Return the result of an operation that LLVM names."""
    type = ir.FunctionType(result, [value.type for value in values])
    return builder.call(cgutils.get_or_insert_function(builder.module, type, name), values)


def slice_of(builder: Builder, vector: Value, start: int, end: int) -> Value:
    """Return the places from ``start`` to ``end`` of a vector."""
    chosen = ir.Constant(ir.VectorType(INT32, end - start), list(range(start, end)))
    return builder.shuffle_vector(vector, vector, chosen)


def add_products(builder: Builder, total: Value, codes: Value, digits: Value) -> Value:
    """Add to each of 16 sums the products of 4 codes from 0 to 15 with 4 signed digits."""
    if INSTRUCTIONS == "avx512":
        codes = builder.bitcast(codes, SUMS)
        return operate(builder, "llvm.x86.avx512.vpdpbusd.512", SUMS, total, codes, digits)
    if INSTRUCTIONS == "avx2":
        pairs, eight = ir.VectorType(INT16, 16), ir.VectorType(INT32, 8)
        digits, sums = builder.bitcast(digits, BYTES), []
        for start in (0, CHUNK // 2):
            both = [slice_of(builder, each, start, start + CHUNK // 2) for each in (codes, digits)]
            two = operate(builder, "llvm.x86.avx2.pmadd.ub.sw", pairs, *both)
            one = constant(pairs, 1)
            sums.append(operate(builder, "llvm.x86.avx2.pmadd.wd", eight, two, one))
        added = ir.Constant(SUMS, list(range(GROUP)))
        return builder.add(total, builder.shuffle_vector(*sums, added))
    codes = builder.bitcast(codes, SUMS)
    for byte in range(4):
        code = builder.and_(builder.lshr(codes, constant(SUMS, 8 * byte)), constant(SUMS, 15))
        digit = builder.ashr(builder.shl(digits, constant(SUMS, 24 - 8 * byte)), constant(SUMS, 24))
        total = builder.add(total, builder.mul(code, digit))
    return total


def totals_of(
    builder: Builder, rounds: Value, count: int, added: Callable[[Value, list[Value]], list[Value]]
) -> list[Value]:
    """Return ``count`` sums after a loop: ``added`` takes the round and the sums before it."""
    before, loop = builder.block, builder.append_basic_block()
    builder.branch(loop)
    builder.position_at_end(loop)
    number, totals = builder.phi(INT64), [builder.phi(SUMS) for _ in range(count)]
    sums = added(number, list(totals))
    for total, new in zip(totals, sums, strict=True):
        total.add_incoming(constant(SUMS, 0), before)
        total.add_incoming(new, loop)
    following = builder.add(number, constant(INT64, 1))
    number.add_incoming(constant(INT64, 0), before)
    number.add_incoming(following, loop)
    after = builder.append_basic_block()
    builder.cbranch(builder.icmp_signed("<", following, rounds), loop, after)
    builder.position_at_end(after)
    return sums


def both_halves(builder: Builder, codes: Value) -> tuple[Value, Value]:
    """Return the low and the high halves of 64 bytes."""
    bytes = read(builder, codes, BYTES)
    return builder.and_(bytes, constant(BYTES, 15)), builder.lshr(bytes, constant(BYTES, 4))


def multiply(
    builder: Builder, columns: int, codes: Value, digits: Value, chunks: Value
) -> list[Value]:
    """Return the sums of the products of a group with each column of digits, in a loop."""
    several = 2 if columns == 2 else 1  # sums of a column, or each would wait for the one before

    def added(number: Value, sums: list[Value]) -> list[Value]:
        here = builder.add(codes, builder.mul(number, constant(INT64, CHUNK)))
        options = constant(INT32, 0), constant(INT32, 3), constant(INT32, 1)  # read, keep, data
        ahead = place(builder, here, FETCHED, INT8)
        operate(builder, "llvm.prefetch.p0", ir.VoidType(), ahead, *options)
        halves = both_halves(builder, here)
        at = builder.add(digits, builder.mul(number, constant(INT64, DIMENSIONS * columns)))
        for column in range(columns):
            for half, numbers in enumerate(halves):
                own = spread(builder, read(builder, at, INT32, DIMENSIONS * column + 4 * half))
                sum = column * several + half % several
                sums[sum] = add_products(builder, sums[sum], numbers, own)
        return sums

    totals = totals_of(builder, chunks, columns * several, added)
    if several == 1:
        return totals
    return [builder.add(*totals[first : first + 2]) for first in range(0, 2 * columns, 2)]


def sums_of(columns: int) -> Callable[[int, int, int, int], None]:
    """Return a function that multiplies a group with ``columns`` columns of digits.

    It takes the addresses of the group's codes and of the digits int8 (chunks, columns, 8), the
    number of chunks, and the address of the sums, int32 (queries, 16). Two columns are of one
    query, whose sums are 256 times those of the first and those of the second.
    """

    def generate(context: Any, builder: Builder, signature: Any, values: Sequence[Value]) -> Any:
        codes, digits, chunks, out = values
        found = multiply(builder, columns, codes, digits, chunks)
        if columns == 2:
            found = [builder.add(builder.mul(found[0], constant(SUMS, 256)), found[1])]
        for query, sums in enumerate(found):
            builder.store(sums, place(builder, out, CHUNK * query, SUMS), align=1)
        return context.get_dummy_value()

    @intrinsic
    def sums(typing: Any, codes: Any, digits: Any, chunks: Any, out: Any) -> Any:
        return types.void(*[types.int64] * 4), generate

    return cast(Callable[[int, int, int, int], None], sums)


sums_for_one, sums_for_many = sums_of(2), sums_of(MANY)


def row_sum_of(columns: int) -> Callable[[int, int, int], int]:
    """Return a function that multiplies a row of codes with ``columns`` columns of one query.

    It takes the addresses of the row's halves of codes, 4 bytes of each chunk, and of the digits
    int8 (columns, 2, 64 · lines), and the number of lines. Of two columns the first counts 256
    times. Codes beyond the end of the row are read where its last line is not full.
    """

    def generate(context: Any, builder: Builder, signature: Any, values: Sequence[Value]) -> Any:
        codes, digits, lines = values
        size = constant(INT64, CHUNK)

        def added(number: Value, sums: list[Value]) -> list[Value]:
            halves = both_halves(builder, builder.add(codes, builder.mul(number, size)))
            for at in range(2 * columns):
                line = builder.add(builder.mul(lines, constant(INT64, at)), number)
                own = read(builder, builder.add(digits, builder.mul(line, size)), SUMS)
                sums[at] = add_products(builder, sums[at], halves[at % 2], own)
            return sums

        sums = totals_of(builder, lines, 2 * columns, added)
        last = builder.add(*sums[-2:])
        if columns == 2:
            last = builder.add(builder.mul(builder.add(*sums[:2]), constant(SUMS, 256)), last)
        return operate(builder, "llvm.vector.reduce.add.v16i32", INT32, last)

    @intrinsic
    def sum(typing: Any, codes: Any, digits: Any, lines: Any) -> Any:
        return types.int32(*[types.int64] * 3), generate

    return cast(Callable[[int, int, int], int], sum)


row_sum_for_one, row_sum_for_many = row_sum_of(2), row_sum_of(1)


@intrinsic
def lowest_bit(typing: Any, bits: Any) -> Any:
    """Return the number of the lowest bit that is set; one has to be."""

    def generate(context: Any, builder: Builder, signature: Any, values: Sequence[Value]) -> Any:
        return builder.cttz(values[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), generate


@intrinsic
def in_reach(
    typing: Any,
    sums: Any,
    numbers: Any,
    offset: Any,
    step: Any,
    square: Any,
    needed: Any,
    floors: Any,
) -> Any:
    """Return a bit of each row of a group whose product with a query could be as high as needed.

    ``sums`` is the address of the sums int32 (16,), ``numbers`` that of the group's scales, losses
    and shares, float32 (3, 16), see ``codes``. A row is in reach if its upper bound is ``needed``
    or more, and its number of those at ``floors``, float32 (16,), or more.
    """
    single, word, address = types.float32, types.int32, types.int64

    def generate(context: Any, builder: Builder, signature: Any, values: Sequence[Value]) -> Any:
        sums, numbers, offset, step, square, needed, floors = values
        scales = read(builder, numbers, FLOATS)
        losses = read(builder, numbers, FLOATS, CHUNK)
        shares = read(builder, numbers, FLOATS, 2 * CHUNK)
        doubled = builder.add(read(builder, sums, SUMS), read(builder, sums, SUMS))
        whole = builder.sitofp(builder.sub(doubled, spread(builder, offset)), FLOATS)
        scores = builder.fmul(whole, builder.fmul(spread(builder, step), scales))
        squares = builder.fadd(spread(builder, square), constant(FLOATS, ROUNDED))
        left = builder.fsub(
            builder.fmul(losses, squares), builder.fmul(shares, builder.fmul(scores, scores))
        )
        zero = constant(FLOATS, 0.0)
        left = builder.select(builder.fcmp_ordered(">", left, zero), left, zero)
        errors = operate(builder, "llvm.sqrt.v16f32", FLOATS, left)
        upper = builder.fadd(scores, errors)
        near = builder.fcmp_ordered(">=", upper, spread(builder, needed))
        high = builder.fcmp_ordered(">=", upper, read(builder, floors, FLOATS))
        bits = builder.bitcast(builder.and_(near, high), ir.IntType(GROUP))
        return builder.zext(bits, INT64)

    signature = types.int64(address, address, word, single, single, single, address)
    return signature, generate
