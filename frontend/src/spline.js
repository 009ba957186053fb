// The closed curve through anchors: the same as nucleist.ops.splines.curve, a test compares them.

/** Second derivatives of the periodic cubic spline at its knots, one coordinate. */
function bends(values, widths) {
  const n = values.length;
  const rows = Array.from({ length: n }, () => new Float64Array(n + 1));
  for (let i = 0; i < n; i++) {
    const before = widths[(i + n - 1) % n], after = widths[i];
    const last = values[(i + n - 1) % n], here = values[i], next = values[(i + 1) % n];
    rows[i][i] += 2 * (before + after);
    rows[i][(i + n - 1) % n] += before;
    rows[i][(i + 1) % n] += after;
    rows[i][n] = 6 * ((next - here) / after - (here - last) / before);
  }
  return solve(rows);
}

/** Gauss without pivots: the matrix is diagonally dominant. */
function solve(rows) {
  const n = rows.length;
  for (let i = 0; i < n; i++)
    for (let j = i + 1; j < n; j++) {
      const share = rows[j][i] / rows[i][i];
      if (share) for (let k = i; k <= n; k++) rows[j][k] -= share * rows[i][k];
    }
  const found = new Float64Array(n);
  for (let i = n - 1; i >= 0; i--) {
    let rest = rows[i][n];
    for (let k = i + 1; k < n; k++) rest -= rows[i][k] * found[k];
    found[i] = rest / rows[i][i];
  }
  return found;
}

/**
 * Points of the curve, about `spacing` pixels apart, and of each the anchor before it.
 * Anchors that repeat the one before are dropped.
 */
export function curve(given, spacing = 1) {
  const anchors = given.filter((p, i) => {
    const q = given[(i + given.length - 1) % given.length];
    return given.length < 2 || p[0] !== q[0] || p[1] !== q[1];
  });
  const n = anchors.length;
  if (n < 3) return { points: anchors.map((p) => [...p]), after: anchors.map((_, i) => i) };
  const chords = anchors.map((p, i) => {
    const q = anchors[(i + 1) % n];
    return Math.hypot(q[0] - p[0], q[1] - p[1]);
  });
  const widths = chords.map(Math.sqrt);
  const bend = [0, 1].map((c) => bends(anchors.map((p) => p[c]), widths));
  const knots = [0];
  for (const width of widths) knots.push(knots.at(-1) + width);
  const total = chords.reduce((a, b) => a + b, 0);
  const count = Math.trunc(Math.min(Math.max(total / spacing, 8 * n), 20000));
  const points = [], after = [];
  for (let i = 0, at = 0; i < count; i++) {
    const place = i * (knots[n] / count);
    while (at < n - 1 && knots[at + 1] <= place) at++;
    const width = widths[at], next = (at + 1) % n;
    const right = (place - knots[at]) / width, left = 1 - right, scale = (width * width) / 6;
    points.push([0, 1].map((c) =>
      left * anchors[at][c] + right * anchors[next][c] +
      scale * ((left ** 3 - left) * bend[c][at] + (right ** 3 - right) * bend[c][next])));
    after.push(at);
  }
  return { points, after };
}

/** Anchors of the ellipse in a box, from two of its corners. */
export function ellipse([x0, y0], [x1, y1]) {
  const found = [];
  for (let i = 0; i < 8; i++) {
    const angle = (i * Math.PI) / 4;
    found.push([(x0 + x1) / 2 + (Math.abs(x1 - x0) / 2) * Math.cos(angle),
      (y0 + y1) / 2 + (Math.abs(y1 - y0) / 2) * Math.sin(angle)]);
  }
  return found;
}
