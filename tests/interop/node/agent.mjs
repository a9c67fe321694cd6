// An agent on the real iroh from npm, driven by the interop tests. Its command line is described in ../README.md.
// Traps of this binding that are kept away from: connection.watchPathEvents() aborts the process.
import { createRequire } from 'node:module'
const require = createRequire(import.meta.url)
const iroh = require('@number0/iroh')
const { Endpoint, EndpointAddr, EndpointId, EndpointTicket, SecretKey, RelayMap, RelayMode } = iroh

const ECHO = 'kith-test/echo'
const SINK = 'kith-test/sink'
const SOURCE = 'kith-test/source'
const CLOSE = 'kith-test/close'
const bytes = (text) => Array.from(Buffer.from(text))
const text = (array) => Buffer.from(array).toString()
const pattern = (offset, size) => Array.from({ length: size }, (_, i) => (offset + i) % 251)
const equal = (a, b) => Buffer.from(a).equals(Buffer.from(b))
const LIMIT = 1 << 27

// The relays of the options before the command: {url, quicPort, authToken}.
const relays = []
// --lookup n0: the preset, which publishes to and asks n0's servers: whoever runs this has put others in their place.
let lookup = 'none'

function takeOptions(words) {
  const last = () => relays[relays.length - 1] || fail('a relay comes first')
  while (words.length > 1 && words[0].startsWith('--')) {
    const [name, value] = words.splice(0, 2)
    if (name === '--relay') relays.push({ url: value })
    else if (name === '--quic') last().quicPort = Number(value)
    else if (name === '--token') last().authToken = value
    else if (name === '--lookup') lookup = value
    else fail('unknown option ' + name)
  }
  return words
}

function relayMode() {
  if (!relays.length) return RelayMode.disabled()
  const map = RelayMap.empty()
  for (const relay of relays) map.insert(relay)
  return RelayMode.custom(map)
}

// Says so when there is no home relay in time: what the caller does then may be the test.
async function waitOnline(endpoint) {
  if (!relays.length) return
  let timer
  const late = new Promise((resolve) => (timer = setTimeout(() => resolve('late'), 8000)))
  if ((await Promise.race([endpoint.online(), late])) === 'late') console.log('OFFLINE')
  clearTimeout(timer)
}

// Prints the paths of a connection now and when they have changed. The events of the binding abort the process: a clock then.
function reportPaths(conn) {
  if (!relays.length) return
  let told = ''
  const tell = () => {
    const paths = conn.paths().map((p) => ({ remote: p.remoteAddr, relay: p.isRelay, selected: p.isSelected }))
    const line = 'PATHS ' + JSON.stringify(paths)
    if (line !== told) console.log(line)
    told = line
  }
  tell()
  const timer = setInterval(tell, 200)
  timer.unref()
  conn.closed().then(() => clearInterval(timer))
}

async function bind(secret, alpns, addresses = ['127.0.0.1:0']) {
  const builder = Endpoint.builder()
  if (lookup === 'n0') builder.applyN0()
  else builder.applyMinimal()
  builder.relayMode(relayMode())
  for (const address of addresses) builder.bindAddr(address)
  if (secret) builder.secretKey(secret)
  builder.alpns(alpns.map(bytes))
  return builder.bind()
}

const loopback = (endpoint) => endpoint.boundSockets().filter((a) => a.startsWith('127.') || a.startsWith('[::1]'))

function fail(reason) {
  throw new Error(reason)
}

// ---- serving ----

async function serveBi(conn, alpn, stream) {
  if (alpn === SINK) {
    let total = 0n
    for (;;) {
      const chunk = await stream.recv.read(1 << 16)
      if (!chunk || chunk.length === 0) break
      total += BigInt(chunk.length)
    }
    const count = Buffer.alloc(8)
    count.writeBigUInt64BE(total)
    await stream.send.writeAll(Array.from(count))
    await stream.send.finish()
  } else if (alpn === SOURCE) {
    const wanted = Number(Buffer.from(await stream.recv.readExact(8)).readBigUInt64BE())
    const block = pattern(0, 251 * 4096)
    for (let at = 0; at < wanted; at += block.length) {
      await stream.send.writeAll(wanted - at < block.length ? block.slice(0, wanted - at) : block)
    }
    await stream.send.finish()
  } else if (alpn === CLOSE) {
    await stream.recv.readToEnd(1 << 20)
    conn.close(42n, bytes('server done'))
  } else {
    await stream.send.writeAll(await stream.recv.readToEnd(LIMIT))
    await stream.send.finish()
  }
}

async function serveConn(conn) {
  const alpn = text(conn.alpn())
  reportPaths(conn)
  const quiet = () => {}
  const loop = async (next, handle) => {
    for (;;) {
      const item = await next()
      handle(item).catch(quiet)
    }
  }
  loop(() => conn.acceptBi(), (stream) => serveBi(conn, alpn, stream)).catch(quiet)
  loop(
    () => conn.acceptUni(),
    async (recv) => {
      const all = await recv.readToEnd(LIMIT)
      const send = await conn.openUni()
      await send.writeAll(all)
      await send.finish()
    }
  ).catch(quiet)
  loop(() => conn.readDatagram(), async (datagram) => conn.sendDatagram(datagram)).catch(quiet)
  const reason = await conn.closed()
  console.log('CLOSED ' + toJson(describe(String(reason))))
}

// JSON with every digit of a code of 62 bits.
const toJson = ({ kind, code, reason }) => `{"kind":${JSON.stringify(kind)},"code":${code},"reason":${JSON.stringify(reason)}}`

// The binding gives the end of a connection as a sentence only.
function describe(sentence) {
  const close = sentence.match(/closed by peer: (.*?) ?\(code (\d+)\)/) || sentence.match(/closed by peer: (\d+)()/)
  if (close) {
    const code = BigInt(close[2] || close[1])
    return { kind: 'application', code, reason: close[2] ? close[1] : '' }
  }
  return { kind: sentence.includes('timed out') ? 'idle' : 'other', code: 0, reason: sentence }
}

async function decide(incoming, mode) {
  if (mode === 'refuse') return incoming.refuse()
  if (mode === 'ignore') return incoming.ignore()
  if (mode === 'retry' && !(await incoming.remoteAddrValidated())) return incoming.retry()
  const accepting = await incoming.accept()
  await serveConn(await accepting.connect())
}

async function serve(args) {
  let mode = 'accept'
  let secret = null
  const addresses = []
  for (let i = 0; i < args.length; i += 2) {
    if (args[i] === '--mode') mode = args[i + 1]
    else if (args[i] === '--secret') secret = Array.from(Buffer.from(args[i + 1], 'hex'))
    else if (args[i] === '--bind') addresses.push(args[i + 1])
    else fail('unknown option ' + args[i])
  }
  const endpoint = await bind(secret, [ECHO, SINK, SOURCE, CLOSE], addresses.length ? addresses : undefined)
  await waitOnline(endpoint)
  // With a relay the ticket names that alone: this binding has no endpoints without sockets.
  const addr = relays.length
    ? new EndpointAddr(endpoint.id(), endpoint.addr().relayUrl() || relays[0].url, [])
    : new EndpointAddr(endpoint.id(), null, loopback(endpoint))
  console.log('READY ' + EndpointTicket.fromAddr(addr).toString())
  process.stdin.resume()
  process.stdin.on('end', () => process.exit(0))
  for (;;) {
    const incoming = await endpoint.acceptNext()
    if (!incoming) break
    decide(incoming, mode).catch((error) => console.error('incoming: ' + error.message))
  }
}

// ---- dialling ----

async function echoOn(stream, size) {
  const sent = pattern(0, size)
  const writing = stream.send.writeAll(sent).then(() => stream.send.finish())
  const back = await stream.recv.readToEnd(size + 1)
  await writing
  if (!equal(back, sent)) fail('the echo differs')
}

async function fails(connecting, word) {
  let conn = null
  try {
    conn = await connecting
    // The handshake may end for the client before the server has refused it.
    await conn.openBi().then((s) => s.send.writeAll([1]).then(() => s.recv.read(10)))
  } catch (error) {
    if (!error.message.toLowerCase().includes(word)) fail('failed otherwise: ' + error.message)
    return
  }
  fail('connected')
}

const cases = {
  async 'echo-bi'(conn, size = '5') {
    await echoOn(await conn.openBi(), Number(size))
  },
  async 'echo-uni'(conn, size = '5') {
    const sent = pattern(0, Number(size))
    const send = await conn.openUni()
    await send.writeAll(sent)
    await send.finish()
    const recv = await conn.acceptUni()
    if (!equal(await recv.readToEnd(sent.length + 1), sent)) fail('the echo differs')
  },
  async up(conn, size = '1') {
    const stream = await conn.openBi()
    const block = pattern(0, 251 * 4096)
    const started = process.hrtime.bigint()
    for (let left = Number(size); left > 0; left -= block.length) {
      await stream.send.writeAll(left < block.length ? block.slice(0, left) : block)
    }
    await stream.send.finish()
    const count = Buffer.from(await stream.recv.readExact(8)).readBigUInt64BE()
    if (count !== BigInt(size)) fail('the server counted ' + count)
    console.log('RATE ' + Math.round((Number(size) * 1e9) / Number(process.hrtime.bigint() - started)))
  },
  async down(conn, size = '1') {
    const stream = await conn.openBi()
    const wanted = Buffer.alloc(8)
    wanted.writeBigUInt64BE(BigInt(size))
    await stream.send.writeAll(Array.from(wanted))
    await stream.send.finish()
    let at = 0
    for (;;) {
      const chunk = await stream.recv.read(1 << 17)
      if (!chunk || chunk.length === 0) break
      for (let i = 0; i < chunk.length; i++) if (chunk[i] !== (at + i) % 251) fail('wrong byte at ' + (at + i))
      at += chunk.length
    }
    if (at !== Number(size)) fail(at + ' bytes came')
  },
  async streams(conn, count = '1000') {
    const work = []
    for (let i = 0; i < Number(count); i++) work.push(conn.openBi().then((stream) => echoOn(stream, 1 + (i % 3000))))
    await Promise.all(work)
  },
  async datagrams(conn, count = '100') {
    let back = 0
    for (let i = 0; i < Number(count); i++) {
      conn.sendDatagram(pattern(i, 8 + ((i * 37) % 1000)))
      let timer
      const late = new Promise((resolve) => (timer = setTimeout(() => resolve(null), 2000)))
      if (await Promise.race([conn.readDatagram(), late])) back++
      clearTimeout(timer)
    }
    if (back * 10 < Number(count) * 9) fail(`only ${back} of ${count} came back`)
  },
  async close(conn, code = '7', reason = 'bye') {
    await echoOn(await conn.openBi(), 100)
    conn.close(BigInt(code), bytes(reason))
  },
  // One small echo after another on one stream for so long; tells how many, and the longest that one took.
  async steady(conn, milliseconds = '3000') {
    const stream = await conn.openBi()
    const end = performance.now() + Number(milliseconds)
    let rounds = 0
    let longest = 0
    console.log('STEADY begun')
    while (performance.now() < end) {
      const sent = pattern(rounds, 32)
      const at = performance.now()
      await stream.send.writeAll(sent)
      if (!equal(await stream.recv.readExact(32), sent)) fail('the echo differs')
      longest = Math.max(longest, performance.now() - at)
      rounds++
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    await stream.send.finish()
    console.log(`STEADY ${rounds} ${Math.round(longest)}`)
  },
  // The largest datagram there is comes back; one byte more is refused here.
  async 'datagram-max'(conn) {
    await echoOn(await conn.openBi(), 300000)
    const size = conn.maxDatagramSize()
    console.log('DATAGRAM ' + size)
    let taken = true
    try {
      conn.sendDatagram(pattern(0, size + 1000))
    } catch {
      taken = false
    }
    if (taken) fail('an oversize datagram was taken')
    for (let i = 0; i < 5; i++) {
      conn.sendDatagram(pattern(7, size))
      let timer
      const late = new Promise((resolve) => (timer = setTimeout(() => resolve(null), 2000)))
      const back = await Promise.race([conn.readDatagram(), late])
      clearTimeout(timer)
      if (back && !equal(back, pattern(7, size))) fail('the datagram differs')
      if (back) return
    }
    fail('the largest datagram does not come back')
  },
  async 'key-update'(conn) {
    for (let i = 0; i < 12; i++) await echoOn(await conn.openBi(), 2000000)
  },
  async idle(conn, seconds = '60') {
    await echoOn(await conn.openBi(), 100)
    await new Promise((resolve) => setTimeout(resolve, Number(seconds) * 1000))
    await echoOn(await conn.openBi(), 100)
  },
}

async function dial(ticket, name, args) {
  const endpoint = await bind(null, [])
  // A ticket, or a bare id for the address lookup.
  const addr = /^[0-9a-f]{64}$/.test(ticket) ? new EndpointAddr(EndpointId.fromString(ticket), null, []) : EndpointTicket.fromString(ticket).endpointAddr()
  const connect = async (alpn) => {
    const conn = await endpoint.connect(addr, bytes(alpn))
    reportPaths(conn)
    return conn
  }
  await waitOnline(endpoint)
  if (name === 'alpn-mismatch') {
    await fails(connect('kith-test/none'), '120')
  } else if (name === 'wrong-key') {
    const other = new EndpointAddr(SecretKey.generate().public(), null, addr.directAddresses())
    await fails(endpoint.connect(other, bytes(ECHO)), 'unknownissuer')
  } else if (name === 'refused') {
    await fails(connect(ECHO), 'refused')
  } else if (name === 'resume') {
    for (let i = 0; i < 2; i++) {
      const conn = await connect(ECHO)
      await echoOn(await conn.openBi(), 100)
      conn.close(0n, [])
    }
  } else if (name === 'closed-by-peer') {
    const conn = await connect(CLOSE)
    const stream = await conn.openBi()
    await stream.send.writeAll(bytes('please close'))
    await stream.send.finish()
    const reason = String(await conn.closed())
    if (!reason.includes('42') || !reason.includes('server done')) fail('closed otherwise: ' + reason)
  } else if (name === 'connects') {
    for (let i = 0; i < Number(args[0] || '100'); i++) {
      const conn = await connect(ECHO)
      await echoOn(await conn.openBi(), 1 + ((i * 97) % 5000))
      conn.close(0n, [])
    }
    console.log('CONNECTS ' + (args[0] || '100'))
  } else if (cases[name]) {
    const conn = await connect(name === 'up' ? SINK : name === 'down' ? SOURCE : ECHO)
    await cases[name](conn, ...args)
    if (name !== 'close') conn.close(0n, [])
  } else {
    fail('no such case: ' + name)
  }
  await endpoint.close()
}

const [command, ...rest] = takeOptions(process.argv.slice(2))
const commands = {
  serve,
  dial: ([ticket, name, ...args]) => dial(ticket, name, args),
  // Decodes a ticket and prints it encoded again: what this peer would have written.
  async ticket([text]) {
    console.log(EndpointTicket.fromString(text).toString())
  },
}
const run = commands[command] || (() => Promise.reject(new Error('usage: [--relay URL [--quic PORT] [--token TEXT]]... serve | dial TICKET CASE | ticket TEXT')))
run(rest).then(
  () => process.exit(0),
  (error) => {
    console.error(error.stack || error.message)
    process.exit(1)
  }
)
