import type { Message } from '../protocol/record.ts'
import type { FaultHandle } from '../report/collector.ts'
import { ClientNode } from './client-node.ts'
import type { Lane } from './lanes.ts'
import type { Pipe, SocketName } from './network.ts'
import type { Node } from './node.ts'
import { Nonsense } from './nonsense.ts'
import { Random } from './random.ts'
import { type FaultKind, JOINS_MAX, numberOfNode, type Scripted } from './scenario.ts'
import type { Cluster, Simulation } from './simulation.ts'
import { type Place, place } from './troubles.ts'
import { WorkerNode } from './worker-node.ts'

/** What brings things back to order when a fault ends. */
type Undo = (at: number) => void

interface UnderWay {
  readonly places: readonly Place[]
  /** Of the series; -1 without. */
  readonly handle: FaultHandle
  readonly undo: Undo
}

const BETWEEN_TWO: ReadonlySet<FaultKind> = new Set(['partition', 'one-way', 'slow'])
/** What goes wrong, when, and for how long: drawn from the seed, or by script. */
export class Faults {
  /** All that have begun, in order, as a script would have them: for replay, reports, and for making scenarios smaller. */
  readonly history: Scripted[] = []
  readonly #simulation: Simulation
  readonly #random: Random
  readonly #nonsense: Nonsense
  readonly #underWay = new Set<UnderWay>()
  #over = false
  /** What a `late` fault waits to catch. */
  readonly #catching: { pipe: Pipe; lane: Lane; delayMs: number }[] = []

  constructor(simulation: Simulation) {
    this.#simulation = simulation
    this.#random = new Random(simulation.seed, 'faults')
    const { ledger, p } = simulation
    this.#nonsense = new Nonsense(new Random(simulation.seed, 'nonsense'), ledger.nonsense, p.bodyMax)
  }

  begin(): void {
    const { p } = this.#simulation
    for (const scripted of p.script) {
      this.#simulation.later(scripted.at, 1, (at) => {
        if (!this.#over) this.#strike(scripted, at)
      })
    }
    if (p.faultEveryMs > 0 && p.faults.length > 0) this.#schedule(0)
  }

  #schedule(from: number): void {
    const { p } = this.#simulation
    // A single kind comes like clockwork, several like weather.
    const wait = p.faults.length === 1 ? p.faultEveryMs : this.#random.exponential(p.faultEveryMs)
    this.#simulation.later(from + wait, 2, (at) => {
      if (this.#over) return
      const fault = this.#random.pick(p.faults)
      // All drawn now, whether the fault needs it or not: a script of what happened then draws nothing.
      const cluster = this.#random.below(this.#simulation.clusters.length)
      const other = this.#random.below(this.#simulation.clusters.length)
      const node = this.#random.below(1 << 20)
      const forMs = p.faultForMs * this.#random.between(0.3, 1.7)
      if (fault !== undefined) this.#strike({ at, fault, cluster, other, node, forMs }, at)
      this.#schedule(at)
    })
  }

  /** Everything ends at once, and what died comes back. */
  healAll(at: number): void {
    this.#over = true
    this.#catching.length = 0
    this.#simulation.network.tap = null
    for (const fault of [...this.#underWay]) this.#end(fault, at)
    for (const cluster of this.#simulation.clusters) this.#restart(cluster, at)
    this.#simulation.network.weatherChanged(at)
  }

  #end(fault: UnderWay, at: number): void {
    if (!this.#underWay.delete(fault)) return
    fault.undo(at)
    this.#simulation.ledger.troubles.ends(fault.places, at)
    this.#simulation.ledger.series?.faultEnds(at, fault.handle)
  }

  #strike(scripted: Scripted, at: number): void {
    const { clusters, ledger, p } = this.#simulation
    const cluster = clusters[scripted.cluster ?? this.#random.below(clusters.length)]
    if (cluster === undefined || (cluster.gone && scripted.fault !== 'join')) return
    const drawn = scripted.node ?? this.#random.below(1 << 20)
    const number = numberOfNode(scripted.fault, drawn, p)
    const node = number ?? drawn
    const other = clusters[scripted.other ?? this.#random.below(clusters.length)] ?? cluster
    const forMs = scripted.forMs ?? p.faultForMs
    const places = this.#places(scripted.fault, cluster, other, node)
    ledger.troubles.begins(places)
    this.history.push({ ...scripted, at, cluster: cluster.index, other: other.index, node, forMs })
    ledger.note(
      'fault',
      `${scripted.fault} in ${cluster.name} (node ${node}, other ${other.name}) for ${forMs.toFixed(0)} ms`,
      at,
    )
    const handle =
      ledger.series?.faultBegins(at, {
        kind: scripted.fault,
        cluster: cluster.index,
        node: number,
        other: BETWEEN_TWO.has(scripted.fault) && other !== cluster ? other.index : null,
      }) ?? -1
    const undo = this.#commit(scripted.fault, cluster, other, node, places, at)
    const underWay = { places, handle, undo }
    this.#underWay.add(underWay)
    // What happens at once is over at once, though its consequences are allowed to last.
    if (undo === nothing) ledger.series?.faultEnds(at, handle)
    this.#simulation.later(at + forMs, 3, (now) => {
      if (this.#underWay.has(underWay)) ledger.note('fault', `${scripted.fault} in ${cluster.name} ends`, now)
      this.#end(underWay, now)
    })
  }

  /** What it touches: whatever else goes wrong meanwhile has no excuse in it. */
  #places(fault: FaultKind, cluster: Cluster, other: Cluster, node: number): Place[] {
    const { clusters } = this.#simulation
    const { index } = cluster
    const workers = Math.max(1, cluster.workers.length)
    const clients = Math.max(1, cluster.clients.length)
    const aWorker = [place.worker(`${cluster.name}.w${node % workers}`), place.someWorker(index)]
    const client = cluster.clients[node % clients]
    const aClient = client === null || client === undefined ? [] : [place.client(client.name)]
    switch (fault) {
      case 'cluster':
      case 'freeze-cluster':
        return [place.broker(index), place.workers(index), place.someWorker(index), place.clients(index)]
      case 'broker':
      case 'freeze-broker':
        return [place.broker(index)]
      case 'worker':
      case 'freeze-worker':
        return aWorker
      case 'client':
      case 'freeze-client':
        return aClient
      case 'isolate':
      case 'vanish':
      case 'lag':
        if (node % 3 === 1 && cluster.workers.length > 0) return aWorker
        if (node % 3 === 2 && client !== null && client !== undefined) return aClient
        return [place.broker(index)]
      case 'partition':
      case 'one-way':
      case 'slow': {
        // The network within a cluster.
        if (fault === 'slow' && cluster === other) return [place.broker(index)]
        const targets = cluster === other ? clusters : [other]
        return targets.map((target) => place.link(index, target.index))
      }
      case 'break': {
        const pipe = this.#pipeOf(cluster, node)
        return pipe === null ? [] : placesOf(pipe)
      }
      case 'half-open':
        return this.#forgottenOf(cluster, node).flatMap(placesOf)
      case 'leave':
        return []
      // A handler that hangs, an answer that comes twice or late, nonsense, a newcomer: nobody else is to notice.
      case 'silent':
      case 'twice':
      case 'garbage':
      case 'late':
      case 'join':
        return []
    }
  }

  #commit(
    fault: FaultKind,
    cluster: Cluster,
    other: Cluster,
    node: number,
    places: readonly Place[],
    at: number,
  ): Undo {
    const simulation = this.#simulation
    const { network } = simulation
    const workers = Math.max(1, cluster.workers.length)
    const clients = Math.max(1, cluster.clients.length)
    switch (fault) {
      case 'cluster':
        simulation.killBroker(cluster, at)
        for (let i = 0; i < cluster.workers.length; i++) simulation.killWorker(cluster, i, at)
        for (let i = 0; i < cluster.clients.length; i++) simulation.killClient(cluster, i, at)
        return (now) => this.#restart(cluster, now)
      case 'broker':
        simulation.killBroker(cluster, at)
        return (now) => simulation.startBroker(cluster, now)
      case 'worker':
        simulation.killWorker(cluster, node % workers, at)
        return (now) => simulation.startWorker(cluster, node % workers, now)
      case 'client':
        simulation.killClient(cluster, node % clients, at)
        return () => simulation.startClient(cluster, node % clients)
      case 'freeze-broker':
        return this.#freeze([cluster.broker])
      case 'freeze-worker':
        return this.#freeze([cluster.workers[node % workers] ?? null])
      case 'freeze-client':
        return this.#freeze([cluster.clients[node % clients] ?? null])
      case 'freeze-cluster':
        return this.#freeze([cluster.broker, ...cluster.workers, ...cluster.clients])
      case 'partition':
        return this.#block(cluster, other, true, at)
      case 'one-way':
        return this.#block(cluster, other, false, at)
      case 'isolate': {
        const victim = anyOf(cluster, node)
        if (victim === null) return nothing
        victim.isolated = true
        network.weatherChanged(at)
        return (now) => {
          victim.isolated = false
          network.weatherChanged(now)
        }
      }
      case 'vanish':
        return this.#vanish(cluster, node, at)
      case 'lag': {
        const victim = anyOf(cluster, node)
        if (victim === null) return nothing
        const turnMs = (simulation.p.lagMs * (1 + (node % 50))) / 50
        simulation.takeTurns(victim, turnMs)
        return (now) => {
          simulation.takeTurns(victim, simulation.p.turnMs)
          // The turn that is under way may take that long yet.
          for (const where of places) simulation.ledger.troubles.passing(where, now + turnMs)
        }
      }
      case 'slow': {
        const factor = 2 + (node % Math.floor(simulation.p.slowBy - 1))
        network.slow(cluster.index, other.index, factor)
        network.slow(other.index, cluster.index, factor)
        network.weatherChanged(at)
        return (now) => {
          network.slow(cluster.index, other.index, 1)
          network.slow(other.index, cluster.index, 1)
          network.weatherChanged(now)
        }
      }
      case 'break': {
        const pipe = this.#pipeOf(cluster, node)
        if (pipe !== null) network.breakConnection(pipe, at)
        return nothing
      }
      case 'half-open': {
        const sessions = new Map<Pipe, number>()
        for (const pipe of this.#forgottenOf(cluster, node)) sessions.set(pipe, network.goDead(pipe, at))
        return (now) => {
          for (const [pipe, session] of sessions) network.reopen(pipe, session, now)
        }
      }
      case 'silent': {
        const worker = cluster.workers[node % workers]
        if (!worker?.alive) return nothing
        worker.hang()
        return (now) => worker.goOn(now)
      }
      case 'twice': {
        const worker = cluster.workers[node % workers]
        if (!worker?.alive) return nothing
        worker.repeats = true
        return () => {
          worker.repeats = false
        }
      }
      case 'garbage': {
        const pipe = this.#pipeOf(cluster, node)
        if (pipe !== null) this.#garbage(pipe, at)
        return nothing
      }
      case 'late': {
        const pipe = this.#pipeOf(cluster, node)
        if (pipe !== null) this.#catch(pipe)
        return nothing
      }
      case 'join':
        if (simulation.clusters.length < simulation.p.clusters + JOINS_MAX) simulation.addCluster(at)
        return nothing
      case 'leave':
        this.#leave(cluster, at)
        return nothing
    }
  }

  #restart(cluster: Cluster, at: number): void {
    const simulation = this.#simulation
    simulation.startBroker(cluster, at)
    for (let i = 0; i < cluster.workers.length; i++) simulation.startWorker(cluster, i, at)
    for (let i = 0; i < cluster.clients.length; i++) simulation.startClient(cluster, i)
  }

  #freeze(nodes: readonly (Node | null)[]): Undo {
    const stopped: Node[] = []
    for (const node of nodes) {
      if (node === null || !node.alive || node.frozen) continue
      node.freeze()
      stopped.push(node)
    }
    return (at) => {
      for (const node of stopped) if (node.alive) node.thaw(at)
      this.#simulation.network.weatherChanged(at)
    }
  }

  /** A machine without power: its connections hang in the air until it is back and says that it knows nothing of them. */
  #vanish(cluster: Cluster, node: number, at: number): Undo {
    const simulation = this.#simulation
    const victim = anyOf(cluster, node)
    if (!victim?.alive) return nothing
    victim.isolated = true
    simulation.network.weatherChanged(at)
    const worker = victim instanceof WorkerNode ? cluster.workers.indexOf(victim) : -1
    const client = victim instanceof ClientNode ? cluster.clients.indexOf(victim) : -1
    if (worker >= 0) simulation.killWorker(cluster, worker, at)
    else if (client >= 0) simulation.killClient(cluster, client, at)
    else simulation.killBroker(cluster, at)
    return (now) => {
      victim.isolated = false
      simulation.network.weatherChanged(now)
      if (worker >= 0) simulation.startWorker(cluster, worker, now)
      else if (client >= 0) simulation.startClient(cluster, client)
      else simulation.startBroker(cluster, now)
    }
  }

  /** The same cluster twice: it is cut off from all others. */
  #block(from: Cluster, to: Cluster, bothWays: boolean, at: number): Undo {
    const { network, clusters } = this.#simulation
    const targets = from === to ? clusters.filter((cluster) => cluster !== from) : [to]
    const set = (blocked: boolean): void => {
      for (const target of targets) {
        network.block(from.index, target.index, blocked)
        if (bothWays) network.block(target.index, from.index, blocked)
      }
    }
    set(true)
    network.weatherChanged(at)
    return (now) => {
      set(false)
      network.weatherChanged(now)
    }
  }

  /** What a middlebox forgets: one connection of any kind, one worker's, or all that workers or clients have with their broker. */
  #forgottenOf(cluster: Cluster, node: number): Pipe[] {
    const within = (socket: SocketName): Pipe[] =>
      (cluster.broker?.acceptedPipes() ?? []).filter((pipe) => pipe.up && pipe.socket === socket)
    const workers = within('localbe')
    switch (node % 4) {
      case 0:
        return workers
      case 1:
        return within('localfe')
      case 2:
        return workers.slice(node % Math.max(1, workers.length)).slice(0, 1)
      default: {
        const pipe = this.#pipeOf(cluster, node)
        return pipe === null ? [] : [pipe]
      }
    }
  }

  /** One of the cluster's connections, of any kind. */
  #pipeOf(cluster: Cluster, node: number): Pipe | null {
    const broker = cluster.broker
    if (!broker?.alive) return null
    const dialled: Pipe[] = []
    for (let pipe = broker.dialled; pipe !== null; pipe = pipe.nextDialled) dialled.push(pipe)
    const pipes = [...broker.acceptedPipes(), ...dialled.reverse()].filter((pipe) => pipe.up)
    return pipes[node % Math.max(1, pipes.length)] ?? null
  }

  /** Somebody says what means nothing to the other end, as octets or as records. */
  #garbage(pipe: Pipe, at: number): void {
    const bound = pipe.bound
    const from = epochOf(pipe.dialler)
    const to = bound === null ? 0 : epochOf(bound)
    const { socket } = pipe
    if (this.#random.chance(0.5)) {
      const message = this.#nonsense.message(from, to, { socket, outward: true })
      if (message === null) return
      const { clusters, ledger, network } = this.#simulation
      const broker = bound === null ? null : clusters[bound.cluster]?.broker
      // Whoever speaks before it has signed in is thrown out, and opens another connection.
      if (socket === 'localbe' && !broker?.core.workers.byKey.has(pipe.key))
        for (const where of placesOf(pipe)) ledger.troubles.passing(where, at)
      network.inject(pipe, pipe.out, message, at)
    } else {
      const message = this.#nonsense.message(to, from, { socket, outward: false })
      if (message !== null) this.#simulation.network.inject(pipe, pipe.back, message, at)
    }
  }

  /** The next answer on the connection comes a second time, late. Requests never do: no network repeats them. */
  #catch(pipe: Pipe): void {
    const lane = pipe.socket === 'localbe' ? pipe.out : pipe.back
    this.#catching.push({ pipe, lane, delayMs: this.#random.logBetween(1, 5000) })
    this.#simulation.network.tap ??= (p, l, message) => this.#caught(p, l, message)
  }

  #caught(pipe: Pipe, lane: Lane, message: Message): void {
    const index = this.#catching.findIndex((wanted) => wanted.pipe === pipe && wanted.lane === lane)
    const [wanted] = index < 0 ? [] : this.#catching.splice(index, 1)
    if (wanted === undefined) return
    const { network } = this.#simulation
    const session = pipe.session
    const sender = lane === pipe.out ? pipe.home : pipe.there
    this.#simulation.later(
      this.#simulation.at + wanted.delayMs,
      4,
      (at) => {
        if (!this.#over && pipe.session === session) network.inject(pipe, lane, message, at)
      },
      sender,
    )
  }

  /** A cluster is taken down in good order, and does not come back. */
  #leave(cluster: Cluster, at: number): void {
    const simulation = this.#simulation
    const { broker } = cluster
    if (!broker?.alive || broker.frozen || simulation.clusters.filter((c) => !c.gone).length <= 2) return
    // The workers for everything are in these.
    if (simulation.p.services > 1 && cluster.index % 2 === 0) return
    // The others could not find each other again.
    if (simulation.p.membership === 'first' && cluster.index === 0) return
    cluster.gone = true
    // For good.
    const { index } = cluster
    simulation.ledger.left.add(index)
    simulation.ledger.troubles.begins([
      place.broker(index),
      place.workers(index),
      place.someWorker(index),
      place.clients(index),
    ])
    broker.drain(500, at)
    simulation.later(at + 1000, 5, (now) => {
      simulation.killBroker(cluster, now)
      for (let i = 0; i < cluster.workers.length; i++) simulation.killWorker(cluster, i, now)
      for (let i = 0; i < cluster.clients.length; i++) simulation.killClient(cluster, i, now)
    })
  }
}

/** What a connection's break touches. */
export function placesOf(pipe: Pipe): Place[] {
  const { dialler, bound, socket } = pipe
  switch (socket) {
    case 'localfe':
      return [place.client(dialler.name)]
    case 'localbe':
      return [place.worker(dialler.name), place.someWorker(dialler.cluster)]
    case 'cloudfe':
    case 'statebe':
      return [place.link(dialler.cluster, bound?.cluster ?? Number.parseInt(pipe.address.slice(7), 10))]
  }
}

/** Its broker, or one of its workers or clients. */
function anyOf(cluster: Cluster, node: number): Node | null {
  const { broker, workers, clients } = cluster
  const nodes = [
    broker,
    workers[node % Math.max(1, workers.length)],
    clients[node % Math.max(1, clients.length)],
  ]
  return nodes[node % 3] ?? broker
}

function nothing(): void {}

function epochOf(node: Node): number {
  return 'epoch' in node && typeof node.epoch === 'number' ? node.epoch : 1
}
