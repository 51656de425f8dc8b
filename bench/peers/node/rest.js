// REST peer: fastify with a response schema, which it compiles to a serializer, and the mongodb driver.
'use strict'

const { MongoClient } = require('mongodb')
const fastify = require('fastify')()

const text = { type: 'string', nullable: true }
const anything = { type: 'object', additionalProperties: true }
const recallOptions = {
  type: 'object',
  nullable: true,
  properties: {
    mode: { type: 'string' },
    num_search_messages: { type: 'integer' },
    max_query_length: { type: 'integer' },
    alpha: { type: 'number' },
    confidence: { type: 'number' },
    limit: { type: 'integer' },
    lang: { type: 'string' },
    metadata_filter: anything,
    mmr_strength: { type: 'number' },
    trigram_similarity_threshold: { type: 'number' },
    k_multiplier: { type: 'integer' }
  }
}
const session = {
  type: 'object',
  properties: {
    situation: text,
    system_template: text,
    summary: text,
    render_templates: { type: 'boolean' },
    token_budget: { type: 'integer', nullable: true },
    context_overflow: text,
    auto_run_tools: { type: 'boolean' },
    forward_tool_calls: { type: 'boolean' },
    recall_options: recallOptions,
    id: { type: 'string' },
    metadata: anything,
    created_at: { type: 'string', format: 'date-time' },
    updated_at: { type: 'string', format: 'date-time' },
    kind: text
  }
}
const schema = {
  headers: { type: 'object', required: ['x-developer-id'], properties: { 'x-developer-id': { type: 'string' } } },
  querystring: {
    type: 'object',
    properties: { limit: { type: 'integer', minimum: 1, maximum: 1000, default: 100 } }
  },
  response: { 200: { type: 'object', properties: { items: { type: 'array', items: session } } } }
}

async function main () {
  const client = await new MongoClient(process.env.MONGODB_URI).connect()
  const sessions = client.db(process.env.MONGODB_DATABASE).collection('rest_sessions')

  fastify.get('/sessions', { schema }, async (request) => {
    const items = await sessions
      .find({ developer_id: request.headers['x-developer-id'] }, { projection: { _id: 0, developer_id: 0, etag: 0 } })
      .sort({ created_at: -1, id: -1 })
      .limit(request.query.limit)
      .toArray()
    return { items }
  })

  await fastify.listen({ host: '127.0.0.1', port: Number(process.env.PORT) })
}

main()
