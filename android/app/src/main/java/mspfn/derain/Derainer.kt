package mspfn.derain

import android.content.res.AssetManager
import android.os.SystemClock
import com.google.ai.edge.litert.Accelerator
import com.google.ai.edge.litert.CompiledModel
import java.io.Closeable

/** How long a tile took, in milliseconds: all of it, and reading the result back from the GPU. */
data class Timing(val total: Double, val readback: Double)

/**
 * A derained tile is `SIDE` x `SIDE` pixels, RGB in [0, 1], row by row.
 *
 * The file has three signatures that share their weights. `statistics` measures a tile; `guided`
 * derains it by statistics that are given, those of the whole picture, so that tiles agree with one
 * another; `serving_default` derains a picture that fits one tile. Everything is made once: compiling
 * for a GPU takes seconds, and buffers are memory that is shared with it.
 */
class Derainer(assets: AssetManager, file: String, val accelerator: Accelerator) : Closeable {

    // One accelerator alone: an operator that it cannot run is an error here, not a slow surprise.
    private val model = CompiledModel.create(assets, file, CompiledModel.Options(accelerator))

    private val rainy = model.createInputBuffer("rainy", "serving_default")
    private val derained = model.createOutputBuffer("derained", "serving_default")
    private val measured = model.createInputBuffer("rainy", "statistics")
    private val statistics = model.createOutputBuffer("statistics", "statistics")
    private val guidedRainy = model.createInputBuffer("rainy", "guided")
    private val guidedStatistics = model.createInputBuffer("statistics", "guided")
    private val guidedDerained = model.createOutputBuffer("derained", "guided")

    var timing = Timing(0.0, 0.0)
        private set

    init {
        // The first inferences compile shaders and raise clocks: not while somebody waits.
        val gray = FloatArray(SIDE * SIDE * 3) { 0.5f }
        repeat(WARM_UPS) { derainGuided(gray, measure(gray)) }
    }

    /** A picture of one tile. */
    fun derain(tile: FloatArray): FloatArray {
        val start = SystemClock.elapsedRealtimeNanos()
        rainy.writeFloat(tile)
        model.run(mapOf("rainy" to rainy), mapOf("derained" to derained), "serving_default")
        return timed(start) { derained.readFloat() }
    }

    /** The statistics of a tile. */
    fun measure(tile: FloatArray): FloatArray {
        measured.writeFloat(tile)
        model.run(mapOf("rainy" to measured), mapOf("statistics" to statistics), "statistics")
        return statistics.readFloat()
    }

    /** A tile of a larger picture, by the statistics of all of it. */
    fun derainGuided(tile: FloatArray, ofWholePicture: FloatArray): FloatArray {
        val start = SystemClock.elapsedRealtimeNanos()
        guidedRainy.writeFloat(tile)
        guidedStatistics.writeFloat(ofWholePicture)
        model.run(
            mapOf("rainy" to guidedRainy, "statistics" to guidedStatistics),
            mapOf("derained" to guidedDerained),
            "guided",
        )
        return timed(start) { guidedDerained.readFloat() }
    }

    /** Runs are asynchronous on a GPU, so that reading back includes waiting for it. */
    private fun timed(start: Long, read: () -> FloatArray): FloatArray {
        val submitted = SystemClock.elapsedRealtimeNanos()
        val values = read()
        val end = SystemClock.elapsedRealtimeNanos()
        timing = Timing((end - start) / 1e6, (end - submitted) / 1e6)
        return values
    }

    override fun close() {
        listOf(
            rainy, derained, measured, statistics, guidedRainy, guidedStatistics, guidedDerained,
        ).forEach { it.close() }
        model.close()
    }

    companion object {
        /** Height and width of what goes through at once: that of the shipped files. */
        const val SIDE = 512
        private const val WARM_UPS = 3
    }
}
