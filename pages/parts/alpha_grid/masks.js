// From scores to a mask, in the order and double precision of headprune_core: hies(), then prune_mask() with its
// constraints. Arrays are flat with head i = row * heads + head; a mask holds 1 = kept.

const ROUNDING = 1e-9; // relative tolerance when a sum of parameters is compared with a budget

/** Round like Python: halves to the even number. */
export function roundHalfEven(x) {
  const below = Math.floor(x);
  const rest = x - below;
  if (rest !== 0.5) return rest < 0.5 ? below : below + 1;
  return below % 2 === 0 ? below : below + 1;
}

/** HIES of every head: alpha * importance + (1 - alpha) * focus. */
export function hies(importance, entropy, alpha, keep, into = new Float64Array(importance.length)) {
  const high = keep === "high";
  for (let i = 0; i < into.length; i++) {
    into[i] = alpha * importance[i] + (1 - alpha) * (high ? entropy[i] : 1 - entropy[i]);
  }
  return into;
}

/** Units by ascending score, ties by position. `order` is sorted in place, which is fast from the previous order. */
export function removalOrder(scores, order = Int32Array.from(scores.keys())) {
  return order.sort((a, b) => scores[a] - scores[b] || a - b);
}

/**
 * Prepare the constraints for many masks. Without `groups` every head is a unit; with them the heads of one row and one
 * number are kept or pruned together. Units are numbered by their first head. protect and remove hold 1 for overrides.
 */
export function planOf({ rows, heads, min = 0, uniform = false, groups, parameters, protect, remove, names }) {
  const count = rows * heads;
  const unit = new Int32Array(count);
  const seen = new Map();
  for (let i = 0; i < count; i++) {
    const place = groups ? `${Math.floor(i / heads)} ${groups[i]}` : i;
    if (!seen.has(place)) seen.set(place, seen.size);
    unit[i] = seen.get(place);
  }
  const units = seen.size;
  const plan = { rows, heads, count, min, uniform, unit, units, byParameters: Boolean(parameters), total: 0, problem: "" };
  plan.names = names ?? Array.from({ length: rows }, (_, row) => String(row));
  plan.row = new Int32Array(units);
  plan.size = new Int32Array(units);
  plan.cost = new Float64Array(units); // heads, or parameters
  plan.held = new Int8Array(units); // 1 protected, -1 removed
  plan.protected = 0; // heads
  plan.order = Int32Array.from({ length: units }, (_, u) => u);
  if (uniform && parameters) plan.problem = "A parameter budget cannot be combined with equal pruning per layer. Turn one off.";
  const hold = (i, way) => {
    const u = unit[i];
    if (plan.held[u] === -way) {
      const members = Array.from(unit.keys()).filter((j) => unit[j] === u);
      plan.problem ||= `${placed(plan, u, members)} set to both always keep and always prune. Undo one.`;
    }
    plan.held[u] = way;
  };
  for (let i = 0; i < count; i++) {
    const u = unit[i];
    const cost = parameters ? parameters[i] : 1;
    plan.row[u] = Math.floor(i / heads);
    plan.size[u] += 1;
    plan.cost[u] += cost;
    plan.total += cost;
    if (protect?.[i]) hold(i, 1);
    if (remove?.[i]) hold(i, -1);
  }
  for (let u = 0; u < units; u++) if (plan.held[u] > 0) plan.protected += plan.size[u];
  return plan;
}

function placed(plan, u, members) {
  const heads = members.map((i) => i % plan.heads).join(", ");
  return `Layer ${plan.names[plan.row[u]]}: head${members.length > 1 ? "s" : ""} ${heads} ${members.length > 1 ? "are" : "is"}`;
}

/** Return the mask, 1 = kept. Throws an Error that says which constraints conflict, and by how many heads. */
export function pruneMask(scores, sparsity, plan) {
  if (plan.problem) throw new Error(plan.problem);
  const { rows, heads, row, size, cost, held } = plan;
  const pruned = new Uint8Array(plan.units);
  const left = new Int32Array(rows).fill(heads);
  const lanes = plan.uniform ? rows : 1; // each with a budget of its own
  const spent = new Float64Array(lanes);
  const full = new Uint8Array(lanes);
  const budget = plan.byParameters ? (sparsity + ROUNDING) * plan.total : roundHalfEven(sparsity * (plan.uniform ? heads : plan.count));
  const prune = (u) => {
    pruned[u] = 1;
    left[row[u]] -= size[u];
    spent[plan.uniform ? row[u] : 0] += cost[u];
  };
  for (let u = 0; u < plan.units; u++) if (held[u] < 0) prune(u);
  for (let r = 0; r < rows; r++) {
    if (left[r] >= plan.min) continue;
    throw new Error(
      `Layer ${plan.names[r]} must keep at least ${plan.min} heads, but ${heads - left[r]} of its ${heads} are set to ` +
        `Always prune (${plan.min - left[r]} too many).`,
    );
  }
  for (const u of removalOrder(unitScores(scores, plan), plan.order)) {
    const lane = plan.uniform ? row[u] : 0;
    if (held[u] || full[lane] || left[row[u]] - size[u] < plan.min) continue;
    if (spent[lane] + cost[u] > budget) full[lane] = 1;
    else prune(u);
    if (lanes === 1 && full[0]) break;
  }
  for (let u = 0; u < plan.units; u++) {
    const lane = plan.uniform ? row[u] : 0;
    // The budget has room for this unit, but a constraint keeps it.
    if (!pruned[u] && !full[lane] && cost[u] <= budget - spent[lane]) throw new Error(shortfall(plan, budget, spent[lane], lane));
  }
  const mask = new Uint8Array(plan.count);
  for (let i = 0; i < mask.length; i++) mask[i] = 1 - pruned[plan.unit[i]];
  return mask;
}

/** The mean score of each unit, summed in the order of the heads. */
function unitScores(scores, plan) {
  if (plan.units === plan.count) return scores;
  const mean = new Float64Array(plan.units);
  for (let i = 0; i < scores.length; i++) mean[plan.unit[i]] += scores[i];
  for (let u = 0; u < mean.length; u++) mean[u] /= plan.size[u];
  return mean;
}

function shortfall(plan, budget, spent, lane) {
  const reasons = [];
  if (plan.protected) reasons.push(`${plan.protected} head${plan.protected > 1 ? "s are" : " is"} always kept`);
  if (plan.min) reasons.push(`every layer keeps at least ${plan.min}`);
  const unit = plan.byParameters ? "parameters" : "heads";
  return (
    `The target is ${Math.round(budget)} pruned ${unit}${plan.uniform ? ` in layer ${plan.names[lane]}` : ""}, but only ` +
    `${Math.round(spent)} can be pruned because ${reasons.join(" and ")}. Lower the sparsity or loosen a constraint.`
  );
}
