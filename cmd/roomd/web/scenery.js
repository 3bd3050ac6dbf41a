// The plaza's ground and what stands on it, drawn from a few numbers: a round
// square with a fountain, paths, a pond, trees, benches and lamps. By day in
// the light theme, by night in the dark one. All lengths are map units.

export const mapWidth = 1600;
export const mapHeight = 900;
export const groundHeight = 1060; // the meadow goes on below, where the page's own things lie over it

const centre = { x: 800, y: 440 };
const squareRadius = 205;
const pond = { x: 1290, y: 690 };

const day = {
  grass: ["#cfdfae", "#bcd29a"], mottle: ["#c6d9a2", "#d6e4b8", "#b5cd93"], blade: "#a3bf80",
  path: "#eadfc4", pathEdge: "#d9caa6", stone: ["#ece5d6", "#e2d9c6", "#f1ecdf"], joint: "#cfc4ab",
  water: ["#9fd0d6", "#7fbcc8"], waterEdge: "#d8cba7", ripple: "rgb(255 255 255 / 55%)", lily: "#7dab6b", bloom: "#f3d5dd",
  leaf: [["#7fa968", "#94bb7a", "#a9cb8c"], ["#6d9b66", "#82ae78", "#98c08c"], ["#a2b066", "#b6c179", "#c8d08d"]], trunk: "#8f7355",
  flowers: ["#e7869b", "#f0b95f", "#ffffff", "#a88bd0"], bed: "#8fae72", wood: "#b08a62", woodDark: "#8d6c4a",
  rim: "#d8cfbc", rimDark: "#bfb49c", lamp: "#5a5f58", glow: null, shadow: "rgb(60 80 40 / 20%)",
  roof: ["#c9695a", "#f4ece0"], wall: "#f5efe2",
};
const night = {
  grass: ["#24382f", "#1c2d29"], mottle: ["#273d33", "#20342d", "#2a4036"], blade: "#30493b",
  path: "#4a4a45", pathEdge: "#3d3f3b", stone: ["#4e5152", "#474a4c", "#55585a"], joint: "#3a3d3f",
  water: ["#1f4a5c", "#17394a"], waterEdge: "#3f413b", ripple: "rgb(190 225 240 / 30%)", lily: "#33584a", bloom: "#b99aab",
  leaf: [["#1d3a30", "#254639", "#2d5242"], ["#1a3532", "#21413c", "#294d46"], ["#2c3d2e", "#364937", "#405540"]], trunk: "#3c342c",
  flowers: ["#8d5566", "#94764a", "#9a9c9e", "#6f6191"], bed: "#2b4436", wood: "#5d4c3b", woodDark: "#46392d",
  rim: "#686b6c", rimDark: "#525556", lamp: "#20262a", glow: "255 206 128", shadow: "rgb(0 0 0 / 32%)",
  roof: ["#70423c", "#85817a"], wall: "#7d786d",
};

export const palette = (dark) => (dark ? night : day);

/** Numbers from 0 to 1 that are the same for everybody. */
function seeded(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const paths = [
  "M-40 520C160 500 300 360 470 400S640 440 800 440",
  "M800 440C960 440 1080 380 1220 330S1500 250 1640 270",
  "M800 440C790 300 840 190 800 90S770 0 780 -40",
  "M800 440C810 600 740 700 760 790S800 900 790 1100",
  "M880 560C960 640 1010 680 1100 690",
];

/** Lamps by the paths; they glow at night. */
const lamps = [[1046, 346], [554, 346], [554, 540], [885, 682], [290, 470], [1290, 265], [846, 160], [60, 470], [1065, 650]];
const benches = [[695, 232], [905, 232], [690, 668], [1160, 560], [205, 560], [1360, 385]];
const beds = [[990, 262], [610, 262], [607, 625], [1052, 532], [202, 302], [398, 302]];
const pavilion = [300, 250];

/** Whether a place is free for a tree. */
function isMeadow(x, y) {
  const far = (px, py, d) => Math.hypot(x - px, (y - py) * 1.15) > d;
  if (!far(centre.x, centre.y, squareRadius + 75) || !far(pond.x, pond.y, 235) || !far(pavilion[0], pavilion[1] + 70, 190)) return false;
  const left = 520 - 125 * smooth(x, 120, 440);
  const right = 440 - 185 * smooth(x, 850, 1500);
  if (Math.abs(y - (x < 800 ? left : right)) < 85) return false;
  if (Math.abs(x - 795) < 95) return false;
  return [...lamps, ...benches, ...beds].every(([px, py]) => far(px, py, 68));
}

function smooth(x, from, to) {
  const t = Math.min(1, Math.max(0, (x - from) / (to - from)));
  return t * t * (3 - 2 * t);
}

/** Draws the ground: everything that nobody can walk behind. */
export function drawGround(ctx, dark) {
  const p = palette(dark);
  const random = seeded(11);
  drawMeadow(ctx, p, random);
  ctx.lineCap = "round";
  for (const [width, colour] of [[58, p.pathEdge], [50, p.path]]) {
    ctx.lineWidth = width;
    ctx.strokeStyle = colour;
    for (const d of paths) ctx.stroke(new Path2D(d));
  }
  drawPond(ctx, p, random);
  drawSquare(ctx, p, random);
  for (const [x, y] of beds) drawBed(ctx, p, random, x, y);
  if (p.glow) for (const [x, y] of lamps) drawGlow(ctx, x, y + 6, 150, p.glow, 0.3);
}

function drawMeadow(ctx, p, random) {
  const light = ctx.createLinearGradient(0, 0, mapWidth, mapHeight);
  light.addColorStop(0, p.grass[0]);
  light.addColorStop(1, p.grass[1]);
  ctx.fillStyle = light;
  ctx.fillRect(0, 0, mapWidth, groundHeight);
  for (let i = 0; i < 100; i++) {
    ctx.globalAlpha = 0.28;
    ctx.fillStyle = p.mottle[i % 3];
    ellipse(ctx, random() * mapWidth, random() * groundHeight, 60 + random() * 150, 30 + random() * 70);
  }
  ctx.globalAlpha = 0.75;
  ctx.strokeStyle = p.blade;
  ctx.lineWidth = 1.6;
  ctx.lineCap = "round";
  ctx.beginPath();
  for (let i = 0; i < 700; i++) {
    const [x, y, h] = [random() * mapWidth, random() * groundHeight, 4 + random() * 5];
    for (const lean of [-3, 0, 3]) {
      ctx.moveTo(x + lean, y);
      ctx.lineTo(x + lean * 1.8, y - h);
    }
  }
  ctx.stroke();
  ctx.globalAlpha = 1;
  for (let i = 0; i < 130; i++) {
    ctx.fillStyle = p.flowers[i % 4];
    ctx.globalAlpha = 0.8;
    ellipse(ctx, random() * mapWidth, random() * groundHeight, 2, 2);
  }
  ctx.globalAlpha = 1;
}

function drawPond(ctx, p, random) {
  const shore = new Path2D("M1105 690C1100 600 1200 565 1300 580S1480 600 1490 690S1420 815 1300 812S1110 780 1105 690Z");
  ctx.lineWidth = 26;
  ctx.strokeStyle = p.waterEdge;
  ctx.stroke(shore);
  const depth = ctx.createRadialGradient(pond.x, pond.y - 20, 30, pond.x, pond.y, 215);
  depth.addColorStop(0, p.water[1]);
  depth.addColorStop(1, p.water[0]);
  ctx.fillStyle = depth;
  ctx.fill(shore);
  for (const [x, y, r] of [[1205, 640, 15], [1236, 660, 10], [1198, 668, 9], [1400, 740, 16], [1372, 762, 10], [1420, 715, 9], [1330, 620, 11]]) {
    ctx.fillStyle = p.lily;
    ctx.beginPath();
    ctx.ellipse(x, y, r, r * 0.62, 0, 0.5, 6.1);
    ctx.lineTo(x, y);
    ctx.fill();
    if (random() < 0.6) {
      ctx.fillStyle = p.bloom;
      ellipse(ctx, x - 1, y - 3, 4.5, 3.6);
    }
  }
}

function drawSquare(ctx, p, random) {
  ctx.fillStyle = p.pathEdge;
  ellipse(ctx, centre.x, centre.y, squareRadius + 12, squareRadius + 8);
  for (let ring = 6; ring >= 1; ring--) {
    const outer = (squareRadius * ring) / 6;
    const inner = (squareRadius * (ring - 1)) / 6;
    const stones = 6 + ring * 6;
    for (let i = 0; i < stones; i++) {
      const [from, to] = [i, i + 1].map((n) => ((n + (ring % 2) * 0.5) / stones) * 2 * Math.PI);
      ctx.beginPath();
      ctx.ellipse(centre.x, centre.y, outer, outer * 0.985, 0, from, to);
      ctx.ellipse(centre.x, centre.y, inner, inner * 0.985, 0, to, from, true);
      ctx.closePath();
      ctx.fillStyle = p.stone[Math.floor(random() * 3)];
      ctx.fill();
      ctx.strokeStyle = p.joint;
      ctx.lineWidth = 1.4;
      ctx.stroke();
    }
  }
}

function drawBed(ctx, p, random, x, y) {
  ctx.fillStyle = p.shadow;
  ellipse(ctx, x, y + 5, 46, 25);
  ctx.fillStyle = p.bed;
  ellipse(ctx, x, y, 44, 24);
  for (let i = 0; i < 34; i++) {
    const [turn, far] = [random() * 2 * Math.PI, Math.sqrt(random())];
    ctx.fillStyle = p.flowers[i % 4];
    ellipse(ctx, x + Math.cos(turn) * far * 37, y + Math.sin(turn) * far * 18, 3.4, 3.1);
  }
}

function drawGlow(ctx, x, y, radius, colour, strength) {
  const glow = ctx.createRadialGradient(x, y, 0, x, y, radius);
  glow.addColorStop(0, `rgb(${colour} / ${strength})`);
  glow.addColorStop(1, `rgb(${colour} / 0)`);
  ctx.fillStyle = glow;
  ctx.fillRect(x - radius, y - radius, 2 * radius, 2 * radius);
}

export function ellipse(ctx, x, y, rx, ry) {
  ctx.beginPath();
  ctx.ellipse(x, y, rx, ry, 0, 0, 2 * Math.PI);
  ctx.fill();
}

/**
 * What stands on the ground, to be drawn among the walkers from the back to
 * the front: {y, left, top, width, height, draw(ctx)}, where y is its foot and
 * draw paints it in map units.
 */
export function props(dark) {
  const p = palette(dark);
  const random = seeded(29);
  const list = [];
  const put = (x, y, reach, height, draw, below = 16) => list.push({ y, left: x - reach, top: y - height, width: 2 * reach, height: height + below, draw: (ctx) => draw(ctx, p, x, y) });
  for (let tries = 0; tries < 900 && list.length < 38; tries++) {
    const [x, y] = [20 + random() * (mapWidth - 40), 70 + random() * (mapHeight - 70)];
    const size = 0.8 + random() * 0.45;
    const leaf = Math.floor(random() * 3);
    if (!isMeadow(x, y) || list.some((t) => Math.hypot(t.left + t.width / 2 - x, t.y - y) < 78)) continue;
    put(x, y, 52 * size, 118 * size, (ctx) => drawTree(ctx, p, x, y, size, leaf));
  }
  for (const [x, y] of benches) put(x, y, 34, 30, drawBench);
  for (const [x, y] of lamps) put(x, y, 40, 112, drawLamp);
  put(pavilion[0], pavilion[1] + 40, 100, 190, drawPavilion, 26);
  put(centre.x, centre.y + 34, 92, 128, drawFountain, 34);
  return list.sort((a, b) => a.y - b.y);
}

function drawTree(ctx, p, x, y, size, leaf) {
  const [dark, middle, light] = p.leaf[leaf];
  ctx.fillStyle = p.shadow;
  ellipse(ctx, x + 6 * size, y + 1, 36 * size, 12 * size);
  ctx.fillStyle = p.trunk;
  ctx.beginPath();
  ctx.roundRect(x - 5 * size, y - 34 * size, 10 * size, 36 * size, 3);
  ctx.fill();
  const blobs = [[dark, [[-20, -48, 25], [20, -50, 26], [0, -76, 30], [0, -50, 28]]], [middle, [[-16, -58, 19], [16, -60, 19], [-3, -84, 21]]], [light, [[-12, -68, 11], [8, -90, 12], [14, -66, 9]]]];
  for (const [colour, circles] of blobs) {
    ctx.fillStyle = colour;
    for (const [dx, dy, r] of circles) ellipse(ctx, x + dx * size, y + dy * size, r * size, r * size);
  }
}

function drawBench(ctx, p, x, y) {
  ctx.fillStyle = p.shadow;
  ellipse(ctx, x, y + 4, 32, 7);
  ctx.fillStyle = p.woodDark;
  for (const dx of [-23, 19]) ctx.fillRect(x + dx, y - 10, 4, 14);
  ctx.fillStyle = p.wood;
  for (const [dy, h] of [[-24, 5], [-17, 5], [-9, 7]]) {
    ctx.beginPath();
    ctx.roundRect(x - 29, y + dy, 58, h, 2);
    ctx.fill();
  }
}

function drawLamp(ctx, p, x, y) {
  ctx.fillStyle = p.shadow;
  ellipse(ctx, x + 2, y + 1, 9, 4);
  ctx.fillStyle = p.lamp;
  ctx.fillRect(x - 2, y - 62, 4, 63);
  ctx.beginPath();
  ctx.roundRect(x - 9, y - 84, 18, 5, 2);
  ctx.fill();
  if (p.glow) drawGlow(ctx, x, y - 71, 34, p.glow, 0.75);
  ctx.fillStyle = p.glow ? `rgb(${p.glow})` : "#fff6dd";
  ctx.beginPath();
  ctx.roundRect(x - 7, y - 79, 14, 17, 5);
  ctx.fill();
}

function drawPavilion(ctx, p, x, y) {
  ctx.fillStyle = p.shadow;
  ellipse(ctx, x + 8, y + 6, 88, 18);
  ctx.fillStyle = p.wall;
  ctx.fillRect(x - 66, y - 74, 132, 76);
  ctx.fillStyle = p.glow ? `rgb(${p.glow})` : p.woodDark;
  ctx.beginPath();
  ctx.roundRect(x - 40, y - 62, 80, 34, 5);
  ctx.fill();
  ctx.fillStyle = p.wood;
  ctx.fillRect(x - 48, y - 30, 96, 8);
  for (let i = 0; i < 8; i++) {
    ctx.fillStyle = p.roof[i % 2];
    const [a, b] = [x - 84 + i * 21, x - 63 + i * 21];
    ctx.beginPath();
    ctx.moveTo(x + (a - x) * 0.42, y - 142);
    ctx.lineTo(x + (b - x) * 0.42, y - 142);
    ctx.lineTo(b, y - 84);
    ctx.arc((a + b) / 2, y - 84, 10.5, 0, Math.PI);
    ctx.closePath();
    ctx.fill();
  }
  ctx.fillStyle = p.roof[0];
  ctx.beginPath();
  ctx.roundRect(x - 38, y - 148, 76, 9, 4);
  ctx.fill();
}

function drawFountain(ctx, p, x, y) {
  const bowl = (cy, rx, ry) => {
    ctx.fillStyle = p.rimDark;
    ellipse(ctx, x, cy + 9, rx, ry);
    ctx.fillStyle = p.rim;
    ellipse(ctx, x, cy, rx, ry);
    ctx.fillStyle = p.water[1];
    ellipse(ctx, x, cy, rx - 9, ry - 6);
    ctx.fillStyle = p.water[0];
    ellipse(ctx, x, cy + 2, rx - 14, ry - 10);
  };
  ctx.fillStyle = p.shadow;
  ellipse(ctx, x + 4, y - 18, 90, 40);
  bowl(y - 34, 84, 44);
  ctx.fillStyle = p.rimDark;
  ctx.fillRect(x - 8, y - 84, 16, 44);
  bowl(y - 86, 34, 15);
}

/** The water that moves, once the rest is drawn; t in seconds. */
export function drawFountainWater(ctx, dark, t) {
  const p = palette(dark);
  const { x, y } = centre;
  ctx.strokeStyle = p.ripple;
  ctx.lineWidth = 2;
  ctx.beginPath();
  for (let i = 0; i < 7; i++) {
    const turn = (i / 7) * 2 * Math.PI + 0.3;
    const fall = (t * 0.9 + i * 0.37) % 1;
    const reach = 14 + fall * 34;
    const height = 62 + 26 * (1 - (2 * fall - 0.6) ** 2);
    ctx.moveTo(x + Math.cos(turn) * reach, y - height + Math.sin(turn) * reach * 0.45);
    ctx.lineTo(x + Math.cos(turn) * (reach + 3), y - height + 8 + Math.sin(turn) * reach * 0.45);
  }
  ctx.stroke();
  drawRings(ctx, x, y + 4, 66, 30, t);
}

/** Rings on the pond, which lies on the ground. */
export function drawPondWater(ctx, dark, t) {
  ctx.strokeStyle = palette(dark).ripple;
  ctx.lineWidth = 1.6;
  drawRings(ctx, 1300, 670, 70, 34, t * 0.35);
  drawRings(ctx, 1390, 665, 40, 20, t * 0.3 + 0.5);
  drawRings(ctx, 1240, 750, 46, 22, t * 0.28 + 0.2);
}

function drawRings(ctx, x, y, rx, ry, t) {
  const alpha = ctx.globalAlpha;
  for (const shift of [0, 0.5]) {
    const far = (t + shift) % 1;
    ctx.globalAlpha = alpha * (1 - far);
    ctx.beginPath();
    ctx.ellipse(x, y, rx * far, ry * far, 0, 0, 2 * Math.PI);
    ctx.stroke();
  }
  ctx.globalAlpha = alpha;
}
