// People in the plaza, their names, bubbles and stamps. Each is painted once
// on a small canvas of its own and copied from there, so that 200 of them cost
// 200 copies a frame.

const mostSprites = 1200; // kept; past that the oldest are painted again when needed

/** Little pictures by name, for one scale and theme. */
export class Sprites {
  #made = new Map();

  /** scale is device pixels per map unit. */
  constructor(scale, dark) {
    this.scale = scale;
    this.dark = dark;
  }

  /** The picture called key, w by h units, painted by paint if it is new. */
  #sprite(key, w, h, paint) {
    let made = this.#made.get(key);
    if (made) return made;
    const canvas = document.createElement("canvas");
    canvas.width = Math.ceil(w * this.scale);
    canvas.height = Math.ceil(h * this.scale);
    const ctx = canvas.getContext("2d");
    ctx.scale(this.scale, this.scale);
    paint(ctx);
    made = { canvas, w, h };
    this.#made.set(key, made);
    if (this.#made.size > mostSprites) this.#made.delete(this.#made.keys().next().value);
    return made;
  }

  /** Copies a picture; x, y is the middle of its lower edge, in units. */
  #stamp(ctx, { canvas, w, h }, x, y) {
    ctx.drawImage(canvas, x - w / 2, y - h, canvas.width / this.scale, canvas.height / this.scale);
  }

  /** Something that stands in the scenery. */
  prop(ctx, prop, i) {
    const { left, top, width, height } = prop;
    const sprite = this.#sprite(`prop ${i}`, width, height, (c) => {
      c.translate(-left, -top);
      prop.draw(c);
    });
    ctx.drawImage(sprite.canvas, left, top, sprite.canvas.width / this.scale, sprite.canvas.height / this.scale);
  }

  /** A person with their feet at x, y; step is how far a bob has come, 0 when standing. */
  person(ctx, { x, y, hue, left, away }, step, isMe) {
    const tint = away ? "away" : Math.round(hue / 15) * 15;
    const shadow = this.#sprite(isMe ? "my shadow" : "shadow", 48, 24, (c) => paintShadow(c, this.dark, isMe));
    this.#stamp(ctx, shadow, x, y + 12);
    const body = this.#sprite(`person ${tint} ${left}`, 40, 56, (c) => paintPerson(c, tint, left, this.dark));
    this.#stamp(ctx, body, x, y + 4 - step);
  }

  /** A name, its middle at x, its upper edge at y. */
  name(ctx, text, x, y, isMe) {
    const sprite = this.#sprite(`name ${isMe} ${text}`, textWidth(nameFont, text) + 16, 20, (c) => paintName(c, text, this.dark, isMe));
    this.#stamp(ctx, sprite, x, y + 20);
  }

  /** What somebody says, the tip of the bubble at x, y. Returns how high it is. */
  bubble(ctx, text, x, y) {
    const lines = wrap(text, 210, 5);
    const w = Math.max(36, ...lines.map((l) => textWidth(bubbleFont, l))) + 28;
    const h = lines.length * 19 + 16 + 9;
    const sprite = this.#sprite(`bubble ${text}`, w + 8, h + 8, (c) => paintBubble(c, lines, w, h, this.dark));
    this.#stamp(ctx, sprite, x, y + 4);
    return h;
  }

  /** A stamp with its middle at x, y. */
  emoji(ctx, text, x, y, size) {
    const sprite = this.#sprite(`stamp ${text}`, 52, 52, (c) => {
      c.font = `38px ${emojiFonts}`;
      c.textAlign = "center";
      c.textBaseline = "middle";
      c.fillStyle = this.dark ? "#fff" : "#222";
      c.fillText(text, 26, 28);
    });
    const side = (sprite.canvas.width / this.scale) * size;
    ctx.drawImage(sprite.canvas, x - side / 2, y - side / 2, side, side);
  }
}

const emojiFonts = '"Apple Color Emoji", "Segoe UI Emoji", "Noto Color Emoji", system-ui, sans-serif';
const nameFont = '600 12.5px system-ui, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif';
const bubbleFont = '15px system-ui, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif';
const measure = document.createElement("canvas").getContext("2d");

function textWidth(font, text) {
  measure.font = font;
  return measure.measureText(text).width;
}

/** Breaks text into at most so many lines of a width, between words where it can. */
function wrap(text, width, mostLines) {
  const lines = [""];
  for (const word of text.split(/\s+/)) {
    let rest = word;
    while (rest) {
      const line = lines.at(-1);
      const joined = line ? `${line} ${rest}` : rest;
      if (textWidth(bubbleFont, joined) <= width) {
        lines[lines.length - 1] = joined;
        break;
      }
      if (line) {
        lines.push("");
        continue;
      }
      let n = [...rest].length - 1;
      while (n > 1 && textWidth(bubbleFont, [...rest].slice(0, n).join("")) > width) n--;
      lines[lines.length - 1] = [...rest].slice(0, n).join("");
      lines.push("");
      rest = [...rest].slice(n).join("");
    }
  }
  if (lines.length <= mostLines) return lines;
  return [...lines.slice(0, mostLines - 1), `${lines[mostLines - 1]}…`];
}

function paintShadow(c, dark, isMe) {
  if (isMe) {
    c.strokeStyle = dark ? "rgb(255 255 255 / 85%)" : "rgb(255 255 255 / 95%)";
    c.lineWidth = 2.5;
    c.beginPath();
    c.ellipse(24, 12, 20, 9.5, 0, 0, 2 * Math.PI);
    c.stroke();
  }
  c.fillStyle = dark ? "rgb(0 0 0 / 40%)" : "rgb(50 60 30 / 25%)";
  c.beginPath();
  c.ellipse(24, 12, 15, 6.5, 0, 0, 2 * Math.PI);
  c.fill();
}

/** A wooden figure as in a board game: no face but where it looks. */
function paintPerson(c, tint, left, dark) {
  const grey = tint === "away";
  const colour = (s, l) => (grey ? `hsl(210 4% ${l}% / 60%)` : `hsl(${tint} ${s}% ${dark ? l - 6 : l}%)`);
  const body = c.createLinearGradient(6, 0, 34, 0);
  body.addColorStop(0, colour(44, 62));
  body.addColorStop(1, colour(42, 50));
  c.fillStyle = body;
  c.beginPath();
  c.moveTo(13, 26);
  c.bezierCurveTo(8, 34, 5, 44, 6, 49);
  c.bezierCurveTo(10, 54.5, 30, 54.5, 34, 49);
  c.bezierCurveTo(35, 44, 32, 34, 27, 26);
  c.closePath();
  c.fill();
  const head = c.createRadialGradient(16, 11, 2, 20, 15, 14);
  head.addColorStop(0, colour(50, 80));
  head.addColorStop(1, colour(44, 64));
  c.fillStyle = head;
  c.beginPath();
  c.arc(20, 16, 12.5, 0, 2 * Math.PI);
  c.fill();
  c.fillStyle = grey ? "rgb(40 44 48 / 60%)" : "#23282c";
  for (const dx of [-4, 4]) {
    c.beginPath();
    c.ellipse(20 + dx + (left ? -3.5 : 3.5), 16.5, 1.7, 2.3, 0, 0, 2 * Math.PI);
    c.fill();
  }
}

function paintName(c, text, dark, isMe) {
  c.font = nameFont;
  const w = c.measureText(text).width + 14;
  c.fillStyle = isMe ? (dark ? "#7cc9ae" : "#2f6f5e") : dark ? "rgb(20 25 27 / 72%)" : "rgb(255 254 250 / 80%)";
  c.beginPath();
  c.roundRect(1, 1, w, 18, 9);
  c.fill();
  c.fillStyle = isMe ? (dark ? "#10201a" : "#fff") : dark ? "#e9e6de" : "#2a3034";
  c.textBaseline = "middle";
  c.fillText(text, 8, 10.5);
}

function paintBubble(c, lines, w, h, dark) {
  c.shadowColor = dark ? "rgb(0 0 0 / 45%)" : "rgb(60 50 30 / 22%)";
  c.shadowBlur = 5;
  c.shadowOffsetY = 1;
  c.fillStyle = dark ? "#262d31" : "#fffefb";
  c.beginPath();
  c.roundRect(4, 4, w, h - 9, 13);
  c.moveTo(w / 2 - 3, h - 6);
  c.lineTo(w / 2 + 4, h + 3);
  c.lineTo(w / 2 + 11, h - 6);
  c.fill();
  c.shadowColor = "transparent";
  c.fillStyle = dark ? "#efece4" : "#20262a";
  c.font = bubbleFont;
  c.textAlign = "center";
  c.textBaseline = "middle";
  lines.forEach((line, i) => c.fillText(line, 4 + w / 2, 4 + 8 + 9.5 + i * 19));
}
