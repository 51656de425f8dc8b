// gRPC peer: grpc-js and the mongodb driver.
'use strict'

const grpc = require('@grpc/grpc-js')
const protoLoader = require('@grpc/proto-loader')
const { MongoClient } = require('mongodb')

const includeDirs = process.env.PROTO_PATH.split(':')
const definition = protoLoader.loadSync('rollcall/v1/session.proto', { keepCase: true, includeDirs })
const { SessionService } = grpc.loadPackageDefinition(definition).rollcall.v1

function toTimestamp (date) {
  const milliseconds = date.getTime()
  const seconds = Math.floor(milliseconds / 1000)
  return { seconds, nanos: (milliseconds - seconds * 1000) * 1e6 }
}

function toValue (value) {
  switch (typeof value) {
    case 'string': return { stringValue: value }
    case 'number': return { numberValue: value }
    case 'boolean': return { boolValue: value }
  }
  if (value === null) return { nullValue: 0 }
  if (Array.isArray(value)) return { listValue: { values: value.map(toValue) } }
  return { structValue: toStruct(value) }
}

function toStruct (object) {
  const fields = {}
  for (const key of Object.keys(object)) fields[key] = toValue(object[key])
  return { fields }
}

function toSession (document) {
  document.metadata = toStruct(document.metadata)
  if (document.recall_options !== null) {
    document.recall_options.metadata_filter = toStruct(document.recall_options.metadata_filter)
  }
  document.created_at = toTimestamp(document.created_at)
  document.updated_at = toTimestamp(document.updated_at)
  return document
}

async function main () {
  const client = await new MongoClient(process.env.MONGODB_URI).connect()
  const collection = client.db(process.env.MONGODB_DATABASE).collection('grpc_sessions')

  async function list (call) {
    const [owner] = call.metadata.get('x-developer-id')
    const documents = await collection
      .find({ developer_id: owner }, { projection: { _id: 0 } })
      .sort({ created_at: -1, id: -1 })
      .limit(call.request.page_size)
      .toArray()
    return { sessions: documents.map(toSession) }
  }

  const server = new grpc.Server()
  server.addService(SessionService.service, {
    ListSessions: (call, callback) => {
      list(call).then((response) => callback(null, response), (error) => callback(error))
    }
  })
  const credentials = grpc.ServerCredentials.createInsecure()
  server.bindAsync(`127.0.0.1:${process.env.PORT}`, credentials, (error) => {
    if (error) throw error
  })
}

main()
