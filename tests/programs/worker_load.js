// worker_load.js - worker_threads that allocate in every way that node has, and tell digests of what they made.
'use strict';
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');
const crypto = require('crypto');
const zlib = require('zlib');

const WORKERS = 4;
const ROUNDS = Number(process.argv[2] || 40);

function work(seed) {
    const digest = crypto.createHash('sha256');
    let state = seed + 1;
    const random = (n) => (state = (state * 1103515245 + 12345) % 2147483648, (state >>> 8) % n);
    const kept = [];
    for (let round = 0; round < ROUNDS; round++) {
        const map = new Map();
        for (let i = 0; i < 2000; i++)
            map.set(`key ${random(5000)}`, { i, text: 'x'.repeat(random(60)) });
        const json = JSON.stringify([...map]);
        const packed = zlib.deflateSync(Buffer.from(json), { level: 1 + random(9) });
        digest.update(zlib.inflateSync(packed));
        kept.push(Buffer.alloc(random(300000), round & 255), new Float64Array(random(20000)).fill(round));
        if (kept.length > 16)
            digest.update(new Uint8Array(kept.splice(random(16), 1)[0].buffer));
    }
    return digest.digest('hex');
}

if (isMainThread) {
    const lines = [];
    for (let seed = 0; seed < WORKERS * 2; seed++) {
        const worker = new Worker(__filename, { workerData: seed, argv: process.argv.slice(2) });
        worker.on('message', (hex) => lines.push(`${seed} ${hex}`));
        worker.on('error', (error) => { throw error; });
    }
    process.on('exit', () => console.log(lines.sort().join('\n')));
} else {
    parentPort.postMessage(work(workerData));
}
