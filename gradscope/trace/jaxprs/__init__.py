"""The only files that read the insides of JAX: equation parameters, jaxpr classes, source info.

JAX 0.10 to 0.12. Where the versions differ, the newer spelling is tried first, and a comment names the
version whose end makes the other one dead.
"""

from __future__ import annotations

from gradscope.trace.jaxprs.authors import (
    author as author,
    is_promotion as is_promotion,
    library as library,
)
from gradscope.trace.jaxprs.axes import (
    Lookup as Lookup,
    Moves as Moves,
    SideBySide as SideBySide,
    axis_of as axis_of,
    chosen_along as chosen_along,
    counted_along as counted_along,
    last_starts as last_starts,
    leads as leads,
    lookup as lookup,
    moves as moves,
    order_before as order_before,
    side_by_side as side_by_side,
    slices as slices,
)
from gradscope.trace.jaxprs.custom_rules import (
    CUSTOM_RULES as CUSTOM_RULES,
    CannotWiden as CannotWiden,
    CustomRule as CustomRule,
    RuleKey as RuleKey,
    alone as alone,
    as_key as as_key,
    custom_rule as custom_rule,
    key_words as key_words,
    run_widened as run_widened,
    shared_text as shared_text,
    wide_dtype as wide_dtype,
)
from gradscope.trace.jaxprs.equations import (
    WhileParams as WhileParams,
    as_compiled as as_compiled,
    compiled as compiled,
    is_rematerialized as is_rematerialized,
    is_transposed as is_transposed,
    made_at as made_at,
    run_equation as run_equation,
    while_params as while_params,
)
from gradscope.trace.jaxprs.inlining import (
    WrittenOut as WrittenOut,
    live as live,
    written_out as written_out,
)
from gradscope.trace.jaxprs.locations import (
    UserFunction as UserFunction,
    is_user_file as is_user_file,
    is_users_function as is_users_function,
    user_functions as user_functions,
    user_locations as user_locations,
    user_stack as user_stack,
)
from gradscope.trace.jaxprs.marked import MarkedProgram as MarkedProgram, marked as marked
from gradscope.trace.jaxprs.meshes import (
    MeshAxes as MeshAxes,
    ShardMapParams as ShardMapParams,
    by_device as by_device,
    each_device as each_device,
    make_varying as make_varying,
    named_axes as named_axes,
    replicas as replicas,
    shard_map_params as shard_map_params,
    sharded_along as sharded_along,
    unchecked_outputs as unchecked_outputs,
    varying_axes as varying_axes,
)
from gradscope.trace.jaxprs.operands import (
    SummedAxes as SummedAxes,
    axes_of_product as axes_of_product,
    exponent as exponent,
    fan_in as fan_in,
    multiply_adds as multiply_adds,
    pairs_same_axes as pairs_same_axes,
    summed_axes as summed_axes,
    window as window,
)
from gradscope.trace.jaxprs.programs import (
    Body as Body,
    ScanParams as ScanParams,
    all_equations as all_equations,
    as_function as as_function,
    as_program as as_program,
    body_of as body_of,
    branches as branches,
    called_body as called_body,
    carries_program as carries_program,
    carry_first as carry_first,
    checkpoint_options as checkpoint_options,
    differentiations as differentiations,
    function_name as function_name,
    has_primitive as has_primitive,
    in_backward as in_backward,
    inner_bodies as inner_bodies,
    is_literal as is_literal,
    is_zero as is_zero,
    part as part,
    reaching as reaching,
    scan_params as scan_params,
)
from gradscope.trace.jaxprs.rule_lines import rule_of as rule_of, with_rule_lines as with_rule_lines
from gradscope.trace.jaxprs.told import told as told
