# Goes through ActiveRecord on one connection string that leads to two databases: models of main and of ci side by side.
# Prints "ok NAME" or "failed NAME: why" for each check. Argument: "on" or "off", for prepared statements.
require "active_record"
require "securerandom"

PREPARED = ARGV.fetch(0) == "on"
SUFFIX = SecureRandom.hex(4)

ActiveRecord::Base.establish_connection(
  adapter: "postgresql", host: ENV.fetch("PGHOST"), port: ENV.fetch("PGPORT").to_i, database: ENV.fetch("PGDATABASE"),
  username: ENV.fetch("PGUSER"), prepared_statements: PREPARED, pool: 5, variables: { statement_timeout: "60s" }
)

class User < ActiveRecord::Base
  has_many :issues, foreign_key: :author_id
end

class Project < ActiveRecord::Base
  has_many :issues
  has_many :builds, class_name: "CiBuild"
end

class Issue < ActiveRecord::Base
  belongs_to :project, optional: true
  belongs_to :author, class_name: "User", optional: true
  validates :title, presence: true
end

class CiRunner < ActiveRecord::Base
  has_many :builds, class_name: "CiBuild", foreign_key: :runner_id
end

class CiPipeline < ActiveRecord::Base
  belongs_to :project, optional: true
  has_many :stages, class_name: "CiStage", foreign_key: :pipeline_id
  has_many :builds, class_name: "CiBuild", foreign_key: :commit_id, dependent: :destroy
end

class CiStage < ActiveRecord::Base
  belongs_to :pipeline, class_name: "CiPipeline", optional: true
end

class CiBuild < ActiveRecord::Base
  belongs_to :pipeline, class_name: "CiPipeline", foreign_key: :commit_id, optional: true
  belongs_to :project, optional: true
end

def connection
  ActiveRecord::Base.connection
end

def expect(what, value = false)
  raise "expected #{what}" unless value
end

def equal(expected, got)
  raise "expected #{expected.inspect}, got #{got.inspect}" unless expected == got
end

def expect_error(*classes)
  yield
rescue *classes => error
  error
else
  raise "expected #{classes.join(" or ")}, nothing was raised"
end

def check(name)
  yield
  puts "ok #{name}"
rescue Exception => error # rubocop:disable Lint/RescueException - every failure is told
  puts "failed #{name}: #{error.class}: #{error.message.lines.first.to_s.strip} (#{error.backtrace.first})"
ensure
  $stdout.flush
end

check "reads models of both databases" do
  expect "projects", Project.count.positive?
  expect "builds", CiBuild.count.positive?
  equal "app", connection.select_value("SELECT current_database() FROM projects LIMIT 1")
  equal "app_ci", connection.select_value("SELECT current_database() FROM ci_builds LIMIT 1")
end

check "introspects tables of both databases" do
  equal %w[id name path], Project.column_names.first(3)
  equal %w[id commit_id stage_id], CiBuild.column_names.first(3)
  equal "id", CiBuild.primary_key
  equal :boolean, CiRunner.columns_hash["active"].type
  expect "ci_builds", connection.table_exists?(:ci_builds)
  expect "projects", connection.table_exists?(:projects)
  expect "an index", connection.index_exists?(:ci_builds, :project_id)
  expect "a foreign key", connection.foreign_key_exists?(:ci_builds, :ci_pipelines, column: :commit_id)
  equal ["issues_author_id_fkey", "issues_project_id_fkey"], connection.foreign_keys(:issues).map(&:name).sort
  expect "no such table", !connection.table_exists?(:ci_nothing)
end

check "creates, updates and destroys on both databases" do
  issue = Issue.create!(title: SUFFIX, project_id: 1)
  runner = CiRunner.create!(description: SUFFIX)
  issue.update!(title: "#{SUFFIX} changed")
  runner.update!(active: false)
  equal "#{SUFFIX} changed", Issue.find(issue.id).title
  equal false, CiRunner.find(runner.id).active
  issue.destroy!
  runner.destroy!
  expect "gone", Issue.where(id: issue.id).none? && CiRunner.where(id: runner.id).none?
end

check "follows associations within and across databases" do
  project = Project.first
  equal project.issues.count, Issue.where(project_id: project.id).count
  equal project.builds.to_a.size, CiBuild.where(project_id: project.id).count
  expect "a project of a build", CiBuild.first.project.is_a?(Project)
  expect "preloaded", CiBuild.preload(:project, :pipeline).limit(5).all? { |build| build.project && build.pipeline }
  expect "includes", Issue.includes(:author).limit(5).to_a.size == 5
end

check "joins within a database" do
  expect "issues with projects", Issue.joins(:project).count.positive?
  expect "builds with pipelines", CiBuild.joins(:pipeline).where(ci_pipelines: { status: "success" }).count.positive?
  expect "eager loaded", CiPipeline.eager_load(:builds).limit(3).to_a.size == 3
end

check "is refused a join across databases" do
  error = expect_error(ActiveRecord::StatementInvalid) { CiBuild.joins(:project).to_a }
  equal "XD001", error.cause.result.error_field(PG::Result::PG_DIAG_SQLSTATE)
  expect "goes on", Project.count.positive?
end

check "reads both and writes one in a transaction" do
  Issue.transaction do
    expect "builds", CiBuild.count.positive?
    Issue.create!(title: "#{SUFFIX} tx")
    expect "builds again", CiBuild.where(project_id: 1).to_a
  end
  equal 1, Issue.where(title: "#{SUFFIX} tx").delete_all
end

check "is refused a transaction that modifies both" do
  error = expect_error(ActiveRecord::StatementInvalid) do
    Issue.transaction do
      Issue.create!(title: "#{SUFFIX} both")
      CiRunner.create!(description: "#{SUFFIX} both")
    end
  end
  equal "XD002", error.cause.result.error_field(PG::Result::PG_DIAG_SQLSTATE)
  equal 0, Issue.where(title: "#{SUFFIX} both").count
end

check "rolls back on an exception" do
  expect_error(RuntimeError) do
    CiRunner.transaction do
      Project.first
      CiRunner.create!(description: "#{SUFFIX} undone")
      raise "undo"
    end
  end
  equal 0, CiRunner.where(description: "#{SUFFIX} undone").count
end

check "nests transactions in savepoints" do
  CiRunner.transaction do
    CiRunner.create!(description: "#{SUFFIX} outer")
    Project.first
    CiRunner.transaction(requires_new: true) do
      CiRunner.create!(description: "#{SUFFIX} inner")
      Project.count
      raise ActiveRecord::Rollback
    end
    CiRunner.transaction(requires_new: true) { CiRunner.create!(description: "#{SUFFIX} second") }
  end
  equal %w[outer second].map { |name| "#{SUFFIX} #{name}" }, CiRunner.where("description LIKE ?", "#{SUFFIX} %").order(:id).pluck(:description)
  CiRunner.where("description LIKE ?", "#{SUFFIX} %").delete_all
end

check "recovers from a database error within a savepoint" do
  User.transaction do
    expect_error(ActiveRecord::RecordNotUnique) do
      User.transaction(requires_new: true) { User.create!(username: "user1") }
    end
    expect "builds", CiBuild.count.positive?
  end
end

check "sets an isolation level" do
  CiBuild.transaction(isolation: :repeatable_read) do
    equal "repeatable read", connection.select_value("SELECT current_setting('transaction_isolation') FROM ci_builds LIMIT 1")
    equal "repeatable read", connection.select_value("SELECT current_setting('transaction_isolation') FROM projects LIMIT 1")
  end
end

check "locks rows" do
  CiBuild.transaction { expect "a row", CiBuild.lock.find(1) }
  Project.transaction { expect "a row", Project.lock("FOR UPDATE SKIP LOCKED").first }
  Project.first.with_lock { expect "builds", CiBuild.first }
end

check "takes advisory locks" do
  expect "the lock", connection.get_advisory_lock(4_242_424)
  expect "its release", connection.release_advisory_lock(4_242_424)
end

check "migrates a table of each database" do
  Class.new(ActiveRecord::Migration[6.1]) do
    def change
      create_table(:ci_refs) { |t| t.bigint :project_id; t.string :name; t.timestamps }
      add_index :ci_refs, :project_id
      add_column :ci_refs, :status, :integer, default: 0, null: false
      create_table(:labels) { |t| t.string :title, null: false; t.references :project, foreign_key: true }
      rename_column :labels, :title, :name
      change_column_null :labels, :name, true
    end
  end.then do |migration|
    migration.suppress_messages { migration.migrate(:up) } if migration.respond_to?(:suppress_messages)
    migration.migrate(:up) unless connection.table_exists?(:ci_refs)
  end
  expect "an index", connection.index_exists?(:ci_refs, :project_id)
  equal 0, connection.columns(:ci_refs).find { |column| column.name == "status" }.default.to_i
  expect "a foreign key", connection.foreign_key_exists?(:labels, :projects)
  equal "app_ci", connection.select_value("SELECT current_database() FROM (SELECT count(*) FROM ci_refs) x")
ensure
  connection.drop_table(:ci_refs, if_exists: true)
  connection.drop_table(:labels, if_exists: true)
end

check "runs migrations through the migrator" do
  ActiveRecord::Migration.verbose = false
  migration = Class.new(ActiveRecord::Migration[6.1]) do
    def self.name = "CreateCiVariables"
    def version = 20_300_101_000_000
    def name = "CreateCiVariables"
    def change = create_table(:ci_variables) { |t| t.string :key }
  end.new("CreateCiVariables", 20_300_101_000_000)
  schema = ActiveRecord::SchemaMigration
  connection.execute("SET pginterlock.database = 'ci'") # as a migration of the ci database is run: its version is kept there
  schema.create_table
  ActiveRecord::InternalMetadata.create_table
  ActiveRecord::Migrator.new(:up, [migration], schema).migrate
  expect "the table", connection.table_exists?(:ci_variables)
  expect "its version", schema.where(version: "20300101000000").exists?
  ActiveRecord::Migrator.new(:down, [migration], schema, 0).migrate
  expect "no table", !connection.table_exists?(:ci_variables)
ensure
  connection.execute("RESET pginterlock.database")
  connection.drop_table(:ci_variables, if_exists: true)
end

check "is refused a foreign key across databases" do
  error = expect_error(ActiveRecord::StatementInvalid) { connection.add_foreign_key(:ci_builds, :projects) }
  equal "XD003", error.cause.result.error_field(PG::Result::PG_DIAG_SQLSTATE)
end

check "inserts in bulk and upserts" do
  CiRunner.insert_all!((1..50).map { |n| { description: "#{SUFFIX} bulk", creator_id: n, created_at: Time.now } })
  equal 50, CiRunner.where(description: "#{SUFFIX} bulk").count
  User.upsert_all([{ username: "user1", name: "User 1", created_at: Time.now }], unique_by: :username) if connection.index_exists?(:users, :username, unique: true)
  equal 50, CiRunner.where(description: "#{SUFFIX} bulk").delete_all
end

check "iterates in batches" do
  ids = []
  CiBuild.in_batches(of: 17) { |batch| ids.concat(batch.pluck(:id)) && Project.first }
  equal CiBuild.order(:id).pluck(:id), ids.sort
end

check "uses its query cache" do
  ActiveRecord::Base.cache { 3.times { Project.first && CiBuild.first } }
end

check "explains" do
  expect "a plan", CiBuild.where(id: 1).explain.include?("ci_builds")
end

check "keeps its statements apart on a pool of connections" do
  threads = 5.times.map do |n|
    Thread.new do
      ActiveRecord::Base.connection_pool.with_connection do
        20.times do
          raise "no project" unless Project.find(n + 1)
          raise "no build" unless CiBuild.find(n + 1)
          CiBuild.transaction { Project.find(n + 1) && CiBuild.where(id: n + 1).update_all(updated_at: Time.now) }
        end
      end
    end
  end
  threads.each(&:value)
end

check "reconnects" do
  connection.reconnect!
  expect "projects", Project.count.positive?
  expect "builds", CiBuild.count.positive?
  expect "active", connection.active?
end
