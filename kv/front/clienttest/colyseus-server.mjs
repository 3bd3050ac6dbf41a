// A Colyseus server, as a process of its own: Colyseus keeps its matchmaker in
// global variables. REDIS_URL says where it meets the others. It is driven by
// messages {id, method, args} from its parent, and answers {id, result} or
// {id, error}.

import { createServer } from "node:http";
import { once } from "node:events";
import { matchMaker, Room, Server } from "@colyseus/core";
import { RedisDriver } from "@colyseus/redis-driver";
import { RedisPresence } from "@colyseus/redis-presence";
import { schema, t } from "@colyseus/schema";
import { WebSocketTransport } from "@colyseus/ws-transport";

const State = schema({ visits: t.number(), host: t.string() });

class Hall extends Room {
  onCreate(options) {
    this.autoDispose = options.autoDispose ?? true;
    this.maxClients = options.maxClients ?? 100;
    this.setState(new State().assign({ visits: 0, host: matchMaker.processId }));
    this.setMetadata({ game: options.game });
    this.onMessage("say", (client, text) => this.broadcast("said", [client.sessionId, text]));
    // What the room shares with others of its game, wherever they are.
    this.heard = (text) => this.broadcast("news", text);
    this.onMessage("tell all games", (_, text) => this.presence.publish(`news of ${options.game}`, text));
    return this.presence.subscribe(`news of ${options.game}`, this.heard);
  }

  async onJoin() {
    this.state.visits++;
    await this.presence.hincrby("visits", this.metadata.game, 1);
  }

  onDispose() {
    return this.presence.unsubscribe(`news of ${this.metadata.game}`, this.heard);
  }
}

const http = createServer();
http.listen(0, "127.0.0.1");
await once(http, "listening");
const { port } = http.address();
http.close();
await once(http, "close");

const server = new Server({
  transport: new WebSocketTransport({}),
  presence: new RedisPresence(process.env.REDIS_URL),
  driver: new RedisDriver(process.env.REDIS_URL),
  publicAddress: `127.0.0.1:${port}`,
  greet: false,
  // Where a room is made is the client's choice here, so that tests can say.
  selectProcessIdToCreateRoom: async (_, options) => options.host ?? matchMaker.processId,
});
server.define("hall", Hall).filterBy(["game"]);
await server.listen(port, "127.0.0.1");

const methods = {
  query: (conditions) => matchMaker.query(conditions),
  processes: () => matchMaker.stats.fetchAll(),
  presence: (method, ...args) => matchMaker.presence[method](...args),
  callRoom: (roomId, method, args) => matchMaker.remoteRoomCall(roomId, method, args),
  shutDown: () => server.gracefullyShutdown(false),
};

process.on("message", async ({ id, method, args }) => {
  try {
    process.send({ id, result: await methods[method](...args) });
  } catch (err) {
    process.send({ id, error: String(err?.message ?? err) });
  }
});
process.on("disconnect", () => process.exit());
process.send({ port, processId: matchMaker.processId });
